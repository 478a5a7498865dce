// Messages between a leader and its ranks: whole, in order, and no wait without an end.
#include "examples/reference_engine/rank_pipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "examples/reference_engine/engine_compare.h"
#include "examples/reference_engine/rank_messages.h"

namespace {

using namespace baton_engine;
using baton::Status;
using baton::StatusCode;
using testing::HasSubstr;

class RankPipeTest : public testing::Test {
 protected:
  RankPipeTest() {
    auto ends = RankPipe::create_ends();
    one_.emplace(std::move(ends->first), "decode rank 2");
    other_.emplace(std::move(ends->second), "the leader");
  }
  std::optional<RankPipe> one_;
  std::optional<RankPipe> other_;
};

std::vector<uint8_t> pattern(size_t length) {
  std::vector<uint8_t> bytes(length);
  for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<uint8_t>(i * 31 + i / 256);
  return bytes;
}

TEST_F(RankPipeTest, MessagesArriveWholeAndInOrder) {
  const size_t lengths[] = {0, 1, 23, 24, 25, 65536, 65512, 10'000'000, 3};
  std::thread sender([&] {
    uint64_t key = 0;
    for (const size_t length : lengths) {
      EXPECT_TRUE(one_->send(7, UINT64_MAX - key++, pattern(length), 20'000).is_ok());
    }
    one_.reset();
  });
  uint64_t key = 0;
  for (const size_t length : lengths) {
    const auto message = other_->receive(20'000);
    ASSERT_TRUE(message.is_ok()) << message.status().to_string();
    EXPECT_EQ(message->kind, 7U);
    EXPECT_EQ(message->key, UINT64_MAX - key++);
    EXPECT_EQ(message->bytes, pattern(length));
  }
  sender.join();
  const auto end = other_->receive(20'000);
  EXPECT_EQ(end.code(), StatusCode::kPeerLost);
  EXPECT_THAT(end.status().message(), HasSubstr("the leader is gone"));
}

TEST_F(RankPipeTest, WhatCameBeforeTheEndCounts) {
  ASSERT_TRUE(one_->send(1, 2, pattern(65512), 20'000).is_ok());
  ASSERT_TRUE(one_->send(3, 4, {}, 20'000).is_ok());
  one_.reset();
  EXPECT_EQ(other_->receive(20'000)->kind, 1U);
  EXPECT_EQ(other_->receive(20'000)->kind, 3U);
  EXPECT_EQ(other_->poll().code(), StatusCode::kPeerLost);
}

TEST_F(RankPipeTest, WaitsEndByTheirDeadline) {
  const auto nothing = one_->receive(50);
  EXPECT_EQ(nothing.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(nothing.status().message(), HasSubstr("decode rank 2 said nothing for 50 ms"));
  const auto none = one_->poll();
  ASSERT_TRUE(none.is_ok());
  EXPECT_FALSE(none->has_value());
  // More than the sockets hold, and nobody reads.
  const Status full = one_->send(1, 1, pattern(64 << 20), 50);
  EXPECT_EQ(full.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(full.message(), HasSubstr("did not read"));
}

TEST_F(RankPipeTest, SendingToNobodyFails) {
  other_.reset();
  const Status gone = one_->send(1, 1, {}, 20'000);
  EXPECT_EQ(gone.code(), StatusCode::kPeerLost);
  EXPECT_THAT(gone.message(), HasSubstr("decode rank 2 is gone"));
}

TEST(RankMessages, ComeBackEqual) {
  const Status failed(StatusCode::kPeerLost, "gone");
  EXPECT_EQ(decode_status(encode(failed)).code(), StatusCode::kPeerLost);
  EXPECT_EQ(decode_status(encode(failed)).message(), "gone");
  EXPECT_TRUE(decode_status(encode(Status::ok())).is_ok());
  EXPECT_EQ(decode_ready(encode(RankReady{{}, "baton://x"}))->address, "baton://x");
  const auto open = decode_open(encode(OpenRequest{1, UINT64_MAX, 3, 4, HandOff::kPull}));
  ASSERT_TRUE(open.is_ok());
  EXPECT_EQ(open->id, 1U);
  EXPECT_EQ(open->session, UINT64_MAX);
  EXPECT_EQ(open->tokens, 3U);
  EXPECT_EQ(open->capacity_tokens, 4U);
  EXPECT_EQ(open->hand_off, HandOff::kPull);
  const auto arrivals = decode_arrivals(encode(RankArrivals{failed, {1, 2}, {3}}));
  ASSERT_TRUE(arrivals.is_ok());
  EXPECT_EQ(arrivals->status.code(), StatusCode::kPeerLost);
  EXPECT_EQ(arrivals->placed_ns, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(arrivals->seen_ns, (std::vector<int64_t>{3}));
  const auto connect = decode_connect(encode(RankConnect{UINT64_MAX, {"a", "b"}}));
  ASSERT_TRUE(connect.is_ok());
  EXPECT_EQ(connect->session, UINT64_MAX);
  EXPECT_EQ(connect->addresses, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(decode_step(encode_step(UINT32_MAX, true))->token, UINT32_MAX);
  EXPECT_TRUE(decode_step(encode_step(1, true))->is_first);
  EXPECT_FALSE(decode_step(encode_step(1, false))->is_first);
}

TEST(RankMessages, WrongOnesAreErrors) {
  const std::vector<uint8_t> text = {'[', '1', ']'};
  EXPECT_EQ(decode_status(text).code(), StatusCode::kProtocolError);
  EXPECT_FALSE(decode_ready(text).is_ok());
  EXPECT_FALSE(decode_open(text).is_ok());
  EXPECT_FALSE(decode_arrivals(text).is_ok());
  EXPECT_FALSE(decode_connect(text).is_ok());
  EXPECT_FALSE(decode_step(text).is_ok());
  EXPECT_FALSE(decode_kv_image(text).is_ok());
}

}  // namespace
