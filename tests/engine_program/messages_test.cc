#include "examples/reference_engine/engine_messages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <span>
#include <string_view>

#include "tests/support/test_seed.h"

namespace {

using namespace baton_engine;

std::vector<uint8_t> bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

PrefillRecord sample_record() {
  PrefillRecord record;
  record.id = 0xfedcba9876543210U;
  record.status = {baton::StatusCode::kPeerLost, "a name that is \xff not UTF-8"};
  record.begin_ns = 1;
  record.end_ns = INT64_MAX;
  record.chunks = {{0, 256, {1, 2, 3}}, {256, 300, {4, 5, 6}}};
  record.final_ns = {4, 5, 6};
  record.posted_ns = {7, 8, 9};
  record.sent_bytes = {UINT64_MAX, 0, 1};
  return record;
}

TEST(Messages, RequestComesBackEqual) {
  const PrefillRequest request{UINT64_MAX, HandOff::kPushAfter, 17, {0, 1, UINT32_MAX}};
  const auto back = decode_request(encode(request));
  ASSERT_TRUE(back.is_ok()) << back.status().to_string();
  EXPECT_EQ(back->id, request.id);
  EXPECT_EQ(back->hand_off, request.hand_off);
  EXPECT_EQ(back->pause_ms, request.pause_ms);
  EXPECT_EQ(back->tokens, request.tokens);
}

TEST(Messages, LongestRequestFitsOneMessage) {
  const PrefillRequest request{1, HandOff::kPush, 0, std::vector<uint32_t>(8191, 49151)};
  EXPECT_LE(encode(request).size(), 65536U);
}

TEST(Messages, RecordComesBackEqual) {
  const PrefillRecord record = sample_record();
  const auto back = decode_record(encode(record));
  ASSERT_TRUE(back.is_ok()) << back.status().to_string();
  EXPECT_EQ(back->id, record.id);
  EXPECT_EQ(back->status.code(), record.status.code());
  EXPECT_EQ(back->begin_ns, record.begin_ns);
  EXPECT_EQ(back->end_ns, record.end_ns);
  ASSERT_EQ(back->chunks.size(), 2U);
  EXPECT_EQ(back->chunks[1].token_begin, 256U);
  EXPECT_EQ(back->chunks[1].token_end, 300U);
  EXPECT_EQ(back->chunks[1].computed_ns, record.chunks[1].computed_ns);
  EXPECT_EQ(back->final_ns, record.final_ns);
  EXPECT_EQ(back->posted_ns, record.posted_ns);
  EXPECT_EQ(back->sent_bytes, record.sent_bytes);
}

// 2,000 chunks of 30 layers are more than a megabyte.
TEST(Messages, ARecordInPartsComesBackEqual) {
  PrefillRecord record = sample_record();
  record.chunks.clear();
  for (uint32_t i = 0; i < 2000; ++i) {
    record.chunks.push_back({i, i + 1, std::vector<int64_t>(30, INT64_MAX - i)});
  }
  const std::vector<uint8_t> whole = encode(record);
  ASSERT_GT(whole.size(), 10 * kMaxMessageBytes);
  RecordReader reader;
  for (int again = 0; again < 2; ++again) {
    std::span<const uint8_t> rest = whole;
    while (!rest.empty()) {
      const size_t length = std::min(rest.size(), kMaxMessageBytes);
      ASSERT_TRUE(reader.add(rest.first(length)).is_ok());
      rest = rest.subspan(length);
    }
    const auto back = reader.take();
    ASSERT_TRUE(back.is_ok()) << back.status().to_string();
    EXPECT_EQ(encode(*back), whole);
  }
}

TEST(Messages, ARecordWithoutAnEndIsRefused) {
  RecordReader reader;
  const std::vector<uint8_t> part(kMaxMessageBytes, '[');
  for (size_t bytes = 0; bytes < kMaxRecordBytes; bytes += part.size()) {
    ASSERT_TRUE(reader.add(part).is_ok());
  }
  EXPECT_EQ(reader.add(part).code(), baton::StatusCode::kProtocolError);
}

TEST(Messages, HelloReplyComesBackEqual) {
  const auto back = decode_hello_reply(encode(HelloReply{{}, UINT64_MAX, 17, 4}));
  ASSERT_TRUE(back.is_ok());
  EXPECT_TRUE(back->status.is_ok());
  EXPECT_EQ(back->clock_id, UINT64_MAX);
  EXPECT_EQ(back->pid, 17U);
  EXPECT_EQ(back->threads, 4U);
}

TEST(Messages, WrongTextsAreErrors) {
  for (const char* text :
       {"", "{", "[]", "null", "{\"id\":\"x\"}", "{\"id\":1,\"hand_off\":\"fly\",\"tokens\":[]}",
        "{\"id\":1,\"hand_off\":\"push\"}",
        "{\"id\":1,\"hand_off\":\"push\",\"tokens\":[\"a\"]}"}) {
    EXPECT_FALSE(decode_request(bytes_of(text)).is_ok()) << text;
  }
  EXPECT_FALSE(decode_record(bytes_of("{\"id\":1}")).is_ok());
  EXPECT_FALSE(decode_hello_reply(bytes_of("{\"status\":{\"code\":250}}")).is_ok());
}

TEST(Messages, DamagedTextsAreRefusedOrReadable) {
  std::mt19937_64 random(baton_test::test_seed());
  const std::vector<uint8_t> whole = encode(sample_record());
  for (int i = 0; i < 2000; ++i) {
    std::vector<uint8_t> damaged = whole;
    damaged[random() % damaged.size()] = static_cast<uint8_t>(random());
    damaged.resize(damaged.size() - random() % 3);
    (void)decode_record(damaged).is_ok();
  }
}

TEST(Messages, HandOffNamesComeBack) {
  for (const HandOff one : {HandOff::kPush, HandOff::kPushAfter, HandOff::kPaced, HandOff::kNone}) {
    EXPECT_EQ(parse_hand_off(hand_off_name(one)).value(), one);
  }
  EXPECT_FALSE(parse_hand_off("fly").is_ok());
}

}  // namespace
