// Two offers of one request, to one reader: both or neither, by one deadline.
#include "examples/reference_engine/kv_pulls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/reference_engine/engine_progress.h"
#include "tests/engine_program/pools_test.h"
#include "tests/support/wait_until.h"

namespace {

using namespace baton_test;
using baton::State;
using baton::StatusCode;
using baton_engine::KvPulls;
using baton_engine::now_ns;
using testing::HasSubstr;

constexpr uint32_t kTokens = 40;
constexpr int64_t kMsNs = 1'000'000;

class KvPullsTest : public PoolsTest {
 protected:
  KvPullsTest() : PoolsTest(kTokens) {}

  baton::ReadGrant offer() {
    baton::ReadGrantRequest request;
    request.peer = pair_.decode_peer();
    request.cache = source_.cache();
    request.target_cache = "kv";
    request.tag = "r";
    request.tokens = {0, kTokens};
    request.block_lists = {from_};
    request.deadline_ms = 60'000;
    return require(pair_.prefill().offer_read(request), "offer_read");
  }
  KvPulls pulls_of_two(int64_t deadline_ms = 60'000) {
    KvPulls::Request request;
    request.cache = target_.cache();
    request.tag = "r";
    request.offers = 2;
    request.blocks = to_;
    request.end_ns = now_ns() + deadline_ms * kMsNs;
    return {pair_.decode(), std::move(request)};
  }
  // The verdict on a layer, once there is one.
  static baton::Status layer_status(KvPulls& pulls, uint32_t layer) {
    baton::Status status;
    EXPECT_TRUE(wait_until([&] {
      status = pulls.poll_layer(layer);
      if (status.code() != StatusCode::kBusy) return true;
      pulls.wait_layer(layer, 20);
      return false;
    }));
    return status;
  }
};

TEST_F(KvPullsTest, ALayerIsHereWhenAllHaveIt) {
  baton::ReadGrant one = offer();
  KvPulls pulls = pulls_of_two();
  require_ok(one.seal(), "seal");
  // All that the first has to give comes, and is not enough.
  EXPECT_TRUE(wait_until([&] {
    pulls.take_offers(20);
    return one.state() == State::kDone;
  }));
  EXPECT_EQ(pulls.poll_layer(0).code(), StatusCode::kBusy);
  baton::ReadGrant other = offer();
  require_ok(other.seal(), "seal");
  for (uint32_t layer = 0; layer < source_.shape().layers; ++layer) {
    require_ok(layer_status(pulls, layer), "layer");
  }
  require_ok(pulls.wait_end(), "end");
  EXPECT_EQ(pulls.records().size(), 2U);
  EXPECT_EQ(compare_bytes(expected_, target_.memory().bytes()), "");
  EXPECT_EQ(target_.memory().check_guards(), "");
}

TEST_F(KvPullsTest, TheFirstThatFailsCancelsTheOther) {
  baton::ReadGrant one = offer();
  baton::ReadGrant other = offer();
  KvPulls pulls = pulls_of_two();
  EXPECT_TRUE(wait_until([&] {
    pulls.take_offers(20);
    return pulls.records().size() == 2;
  }));
  EXPECT_EQ(pulls.poll_layer(0).code(), StatusCode::kBusy);
  other.cancel("by the test");
  EXPECT_EQ(layer_status(pulls, 0).code(), StatusCode::kCancelled);
  EXPECT_EQ(pulls.wait_end().code(), StatusCode::kCancelled);
  // Nobody but the reader ends this one so early.
  EXPECT_EQ(one.wait(20'000).code(), StatusCode::kCancelled);
  EXPECT_EQ(target_.memory().check_guards(), "");
}

TEST_F(KvPullsTest, ACancelEndsThoseThatBeganAndTakesUpNoMore) {
  baton::ReadGrant one = offer();
  KvPulls pulls = pulls_of_two();
  EXPECT_TRUE(wait_until([&] {
    pulls.take_offers(20);
    return pulls.records().size() == 1;
  }));
  pulls.cancel("by the test");
  EXPECT_EQ(one.wait(20'000).code(), StatusCode::kCancelled);
  const baton::ReadGrant late = offer();
  require(pair_.decode().wait_offer("r", 20'000), "wait_offer");
  pulls.take_offers(20);
  EXPECT_EQ(pulls.records().size(), 1U);
  EXPECT_EQ(pulls.wait_end().message(), "by the test");
  EXPECT_EQ(pulls.poll_layer(0).message(), "by the test");
}

TEST_F(KvPullsTest, AnOfferThatDoesNotComeEndsThemByTheDeadline) {
  baton::ReadGrant one = offer();
  KvPulls pulls = pulls_of_two(300);
  const baton::Status status = pulls.wait_end();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("1 of 2 offers of \"r\" came"));
  EXPECT_FALSE(one.wait(20'000).is_ok());
}

}  // namespace
