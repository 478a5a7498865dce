// Several Paths between two Contexts: one dies in the middle of a hand-off, which completes over
// the others; it comes back and is used again; all die.
#include <gtest/gtest.h>

#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::StatusCode;
using baton::TokenRange;

// Many units, so that each Path gets some stripes: 24 layers of 2 x 128 blocks.
PoolShape wide_pool() {
  PoolShape shape;
  shape.layers = 24;
  shape.block_tokens = 2;
  shape.num_blocks = 128;
  return shape;
}

class Paths : public testing::Test {
 protected:
  void make(const ContextPair::Options& options) {
    pair_ = std::make_unique<ContextPair>(options);
    source_ = std::make_unique<Pool>(wide_pool());
    target_ = std::make_unique<Pool>(wide_pool());
    source_->memory().fill_pattern(options.seed);
    source_->publish(pair_->prefill(), "kv");
    target_->publish(pair_->decode(), "kv");
    pair_->connect();
  }

  // One hand-off of all blocks, final from the start. Returns when both sides have ended.
  void hand_over(const std::string& tag) {
    const TokenRange tokens{0, 256};
    const auto source_blocks = pick_blocks(128, 128, test_seed() + 1);
    const auto target_blocks = pick_blocks(128, 128, test_seed() + 2);
    target_->memory().poison();
    const auto expected = expected_target(*source_, source_blocks, *target_, target_blocks, tokens,
                                          source_->memory().data());
    baton::GrantRequest request;
    request.peer = pair_->prefill_peer();
    request.cache = target_->cache();
    request.source_cache = "kv";
    request.tag = tag;
    request.tokens = tokens;
    request.block_lists = {target_blocks};
    grant_ = require(pair_->decode().grant(request), "grant");
    const auto offer = require(pair_->prefill().wait_offer(tag, 10000), "wait_offer");
    baton::PushRequest push;
    push.grant = offer.id;
    push.cache = source_->cache();
    push.block_lists = {source_blocks};
    transfer_ = require(pair_->prefill().push(push), "push");
    ASSERT_TRUE(transfer_.seal().is_ok());
    granted_ = grant_.wait(20000);
    pushed_ = transfer_.wait(20000);
    if (granted_.is_ok()) {
      EXPECT_EQ(compare_bytes(expected, target_->memory().bytes()), "");
      EXPECT_EQ(grant_.record().units, offer.units);
    }
    EXPECT_EQ(target_->memory().check_guards(), "");
  }

  std::unique_ptr<ContextPair> pair_;
  std::unique_ptr<Pool> source_;
  std::unique_ptr<Pool> target_;
  baton::Grant grant_;
  baton::Transfer transfer_;
  baton::Status granted_;
  baton::Status pushed_;
};

TEST_F(Paths, AsManyAreOpenedAsTheDialerWants) {
  for (const uint32_t paths : {1u, 3u, 8u}) {
    for (const char* transport : {"tcp", "loopback"}) {
      ContextPair::Options options{transport};
      options.paths = paths;
      make(options);
      EXPECT_EQ(require(pair_->decode().describe_peer(pair_->prefill_peer()), "decode").open_paths,
                paths);
      EXPECT_TRUE(wait_until([&] {
        return require(pair_->prefill().describe_peer(pair_->decode_peer()), "prefill")
                   .open_paths == paths;
      }));
      hand_over("all");
      EXPECT_TRUE(granted_.is_ok()) << granted_.to_string();
      EXPECT_TRUE(pushed_.is_ok()) << pushed_.to_string();
      EXPECT_EQ(transfer_.record().settlements, 0u);
    }
  }
}

// The fabric's path 0 is the dialer's end of the first Path, here the writer's: the first stripe
// goes there, whatever the machine is doing.
TEST_F(Paths, OneDiesInTheMiddleAndComesBack) {
  for (const bool ordered : {true, false}) {
    for (const uint32_t after : {0u, 1u, 7u, 40u}) {
      SCOPED_TRACE("after " + std::to_string(after) + " posts, ordered " + std::to_string(ordered));
      ContextPair::Options options{"loopback", ordered, test_seed()};
      options.paths = 3;
      options.prefill_dials = true;
      options.kill_path = 0;
      options.kill_after_posts = after;
      make(options);
      hand_over("hurt");
      EXPECT_TRUE(granted_.is_ok()) << granted_.to_string();
      EXPECT_TRUE(pushed_.is_ok()) << pushed_.to_string();
      EXPECT_TRUE(wait_until([&] {
        return lost_paths(pair_->prefill()) == 1 && lost_paths(pair_->decode()) == 1;
      })) << "it died, on both sides";
      const auto record = transfer_.record();
      EXPECT_EQ(record.settlements, 1u);
      EXPECT_GT(record.units_settled, 0u);
      EXPECT_GT(record.bytes_rewritten, 0u);
      EXPECT_GT(record.settling_ns, 0);
      EXPECT_TRUE(wait_until([&] {
        return require(pair_->decode().describe_peer(pair_->prefill_peer()), "decode").open_paths ==
               3;
      })) << "the dialer opens it again";
      hand_over("again");
      EXPECT_TRUE(granted_.is_ok()) << granted_.to_string();
      EXPECT_EQ(transfer_.record().settlements, 0u);
    }
  }
}

TEST_F(Paths, TheOnlyOneDiesAndBothSidesSaySo) {
  ContextPair::Options options{"loopback", true, test_seed()};
  options.kill_path = 1;
  options.kill_after_posts = 3;
  make(options);
  hand_over("lost");
  EXPECT_EQ(granted_.code(), StatusCode::kPathLost) << granted_.to_string();
  EXPECT_EQ(pushed_.code(), StatusCode::kPathLost) << pushed_.to_string();
}

}  // namespace
}  // namespace baton_test
