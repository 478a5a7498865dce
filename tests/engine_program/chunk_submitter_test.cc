// Chunks past the number that a Transfer takes: none is lost, and none fails the request.
#include "examples/reference_engine/chunk_submitter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "tests/engine_program/pools_test.h"
#include "tests/support/wait_until.h"

namespace {

using namespace baton_test;
using baton_engine::ChunkSubmitter;
using baton_engine::seal_when_room;

constexpr uint32_t kTokens = 200;
constexpr uint32_t kTaken = 64;  // by a Transfer, unfinished

// 200 tokens granted and pushed, every byte of them expected.
class ChunkSubmitterTest : public PoolsTest {
 protected:
  ChunkSubmitterTest() : PoolsTest(kTokens) {
    baton::GrantRequest request;
    request.peer = pair_.prefill_peer();
    request.cache = target_.cache();
    request.source_cache = "kv";
    request.tag = "r";
    request.tokens = {0, kTokens};
    request.block_lists = {to_};
    grant_ = require(pair_.decode().grant(request), "grant");
    const auto offer = require(pair_.prefill().wait_offer("r", 20000), "wait_offer");
    transfer_.emplace(require(pair_.prefill().push({offer.id, source_.cache(), {from_}}), "push"));
    word_ = require(pair_.prefill().create_progress_word(), "create_progress_word");
  }
  // What prefill does after the chunk was announced.
  void tick_all_layers() {
    for (uint32_t layer = 0; layer < source_.shape().layers; ++layer) word_.tick();
  }
  void expect_every_byte() {
    require_ok(transfer_->wait(20000), "transfer");
    require_ok(grant_.wait(20000), "grant");
    EXPECT_EQ(compare_bytes(expected_, target_.memory().bytes()), "");
    EXPECT_EQ(target_.memory().check_guards(), "");
  }

  baton::Grant grant_;
  std::optional<baton_engine::Outgoing> transfer_;
  baton::ProgressWord word_;
};

// The first chunk does not tick yet, so that all behind it stay unfinished.
TEST_F(ChunkSubmitterTest, WhatFindsNoRoomIsSentBySeal) {
  ChunkSubmitter chunks(*transfer_, word_);
  for (uint32_t end = 1; end <= kTokens; ++end) require_ok(chunks.add(end), "add");
  EXPECT_EQ(chunks.submitted_end(), kTaken);
  tick_all_layers();
  require_ok(seal_when_room(*transfer_), "seal");
  expect_every_byte();
}

TEST_F(ChunkSubmitterTest, WhatFindsNoRoomGoesAlongWithTheNextThatDoes) {
  ChunkSubmitter chunks(*transfer_, word_);
  for (uint32_t end = 1; end <= 150; ++end) require_ok(chunks.add(end), "add");
  EXPECT_EQ(chunks.submitted_end(), kTaken);
  tick_all_layers();
  // Room comes as the data thread finishes the 64, in its own time.
  uint32_t end = 150;
  ASSERT_TRUE(wait_until([&] {
    end = std::min(end + 1, kTokens);
    require_ok(chunks.add(end), "add");
    return chunks.submitted_end() == kTokens;
  }));
  tick_all_layers();
  require_ok(seal_when_room(*transfer_), "seal");
  expect_every_byte();
}

TEST_F(ChunkSubmitterTest, WaitingForRoomEndsWithTheTransfer) {
  ChunkSubmitter chunks(*transfer_, word_);
  for (uint32_t end = 1; end <= kTokens; ++end) require_ok(chunks.add(end), "add");
  std::thread cancel([&] { grant_.cancel(); });
  const baton::Status status = seal_when_room(*transfer_);
  cancel.join();
  EXPECT_EQ(status.code(), baton::StatusCode::kCancelled) << status.to_string();
  EXPECT_FALSE(transfer_->wait(20000).is_ok());
}

TEST_F(ChunkSubmitterTest, OtherErrorsAreTheCallers) {
  ChunkSubmitter chunks(*transfer_, word_);
  EXPECT_EQ(chunks.add(kTokens + 1).code(), baton::StatusCode::kInvalidArgument);
  transfer_->cancel("by the test");
  EXPECT_FALSE(chunks.add(1).is_ok());
}

}  // namespace
