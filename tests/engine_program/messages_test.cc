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
  record.ranks = {{2, 1, 1, 2, 3, {4}, {5}, {6}}, {}};
  return record;
}

TEST(Messages, RequestComesBackEqual) {
  const PrefillRequest request{UINT64_MAX,         HandOff::kPushAfter, 17,
                               {0, 1, UINT32_MAX}, UINT64_MAX - 1,      3};
  const auto back = decode_request(encode(request));
  ASSERT_TRUE(back.is_ok()) << back.status().to_string();
  EXPECT_EQ(back->id, request.id);
  EXPECT_EQ(back->hand_off, request.hand_off);
  EXPECT_EQ(back->pause_ms, request.pause_ms);
  EXPECT_EQ(back->tokens, request.tokens);
  EXPECT_EQ(back->session, request.session);
  EXPECT_EQ(back->decode_tp, 3U);
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
  ASSERT_EQ(back->ranks.size(), 2U);
  EXPECT_EQ(back->ranks[0].head_first, 2U);
  EXPECT_EQ(back->ranks[0].heads, 1U);
  EXPECT_EQ(back->ranks[0].cpu_ns, 3);
  EXPECT_EQ(back->ranks[0].final_ns, std::vector<int64_t>{4});
  EXPECT_EQ(back->ranks[0].posted_ns, std::vector<int64_t>{5});
  EXPECT_EQ(back->ranks[0].sent_bytes, std::vector<uint64_t>{6});
}

// Of each moment the last, of bytes and CPU time the sum; the failure that is nobody else's fault.
TEST(Messages, RecordsOfRanksBecomeOne) {
  PrefillRecord first;
  first.id = 7;
  first.status = {baton::StatusCode::kCancelled, "rank 1 gave the pass up"};
  first.begin_ns = 10;
  first.end_ns = 20;
  first.cpu_ns = 5;
  first.chunks = {{0, 4, {12, 18}}};
  first.final_ns = {12, 18};
  first.posted_ns = {13, 19};
  first.sent_bytes = {100, 100};
  first.ranks = {{0, 1, 10, 20, 5, {}, {}, {}}};
  PrefillRecord second = first;
  second.status = {baton::StatusCode::kPeerLost, "gone"};
  second.begin_ns = 9;
  second.chunks = {{0, 4, {14, 17}}};
  second.final_ns = {14, 17};
  second.posted_ns = {};
  second.sent_bytes = {};
  const PrefillRecord all = merge({first, second});
  EXPECT_EQ(all.id, 7U);
  EXPECT_EQ(all.status.code(), baton::StatusCode::kPeerLost);
  EXPECT_EQ(all.status.message(), "prefill rank 1: gone");
  EXPECT_EQ(all.begin_ns, 9);
  EXPECT_EQ(all.end_ns, 20);
  EXPECT_EQ(all.cpu_ns, 10);
  EXPECT_EQ(all.chunks[0].computed_ns, (std::vector<int64_t>{14, 18}));
  EXPECT_EQ(all.final_ns, (std::vector<int64_t>{14, 18}));
  EXPECT_EQ(all.posted_ns, first.posted_ns);
  EXPECT_EQ(all.sent_bytes, first.sent_bytes);
  EXPECT_EQ(all.ranks.size(), 2U);
  EXPECT_EQ(merge({second}).status.message(), "gone");
}

TEST(Messages, NameOfAReaderComesBackEqual) {
  const ReaderName name{UINT64_MAX, 2};
  EXPECT_EQ(decode_reader(encode(name)).value(), name);
  for (const char* text : {"", "7", "{\"session\":1}", "{\"session\":1,\"decode_rank\":\"x\"}"}) {
    EXPECT_FALSE(decode_reader(bytes_of(text)).is_ok()) << text;
  }
}

TEST(Messages, WithdrawalComesBackEqual) {
  EXPECT_EQ(decode_withdrawal(encode_withdrawal(UINT64_MAX)).value(), UINT64_MAX);
  EXPECT_FALSE(decode_withdrawal(bytes_of("7")).is_ok());
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
  const auto back = decode_hello_reply(encode(HelloReply{{}, UINT64_MAX, 17, 4, {"a", "b"}}));
  ASSERT_TRUE(back.is_ok());
  EXPECT_TRUE(back->status.is_ok());
  EXPECT_EQ(back->clock_id, UINT64_MAX);
  EXPECT_EQ(back->pid, 17U);
  EXPECT_EQ(back->threads, 4U);
  EXPECT_EQ(back->rank_addresses, (std::vector<std::string>{"a", "b"}));
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
  for (const HandOff one :
       {HandOff::kPush, HandOff::kPull, HandOff::kPushAfter, HandOff::kPaced, HandOff::kNone}) {
    EXPECT_EQ(parse_hand_off(hand_off_name(one)).value(), one);
  }
  EXPECT_FALSE(parse_hand_off("fly").is_ok());
}

}  // namespace
