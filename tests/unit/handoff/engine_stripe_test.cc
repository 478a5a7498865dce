// Which Path the next piece takes, when the one that it would stay with has come back as another.
#include <gtest/gtest.h>

#include "tests/unit/handoff/engine_pair.h"

namespace baton_test {
namespace {

using baton::PathEpoch;
using baton::RailIndex;
using baton::State;
using baton::wire::Fence;

constexpr uint64_t kEpoch = EnginePair::kEpoch;

class EngineStripe : public testing::Test {
 protected:
  EngineStripe() : pair_(EnginePair::default_plan(), nullptr, 2) {}

  // The first layer over Path 0, with the rest of its stripe to come.
  void send_one_layer() {
    baton::handoff::AddChunk add;
    add.transfer = pair_.transfer;
    add.chunk = {EnginePair::kTokens, word_, 0};
    ++pair_.transfer->chunks_queued;
    ASSERT_TRUE(pair_.writer().engine().submit(std::move(add)).is_ok());
    word_->tick();
    pair_.turn_while_awake();
    ASSERT_TRUE(pair_.grant->layers[0].gate->is_open());
    ASSERT_FALSE(pair_.grant->layers[1].gate->is_open());
  }
  // The peer ends that Path and opens it again to a rail on which it has not registered its
  // section.
  void come_back_out_of_reach() {
    pair_.writer().receive(Fence{PathEpoch(kEpoch)});
    pair_.settle();
    ASSERT_EQ(pair_.writer().gone_paths, std::vector<uint32_t>{0});
    pair_.reopen(0, kEpoch + 10, RailIndex(1));
  }
  void expect_the_rest_takes_the_other() {
    word_->tick();
    ASSERT_TRUE(
        pair_.writer().engine().submit(baton::handoff::SealTransfer{pair_.transfer}).is_ok());
    pair_.turn_while_awake();
    pair_.settle();
    EXPECT_EQ(pair_.grant->life.state(), State::kDone) << pair_.grant->life.status().to_string();
    EXPECT_EQ(pair_.transfer->life.state(), State::kDone)
        << pair_.transfer->life.status().to_string();
    EXPECT_EQ(pair_.compare_all(), "");
  }

  EnginePair pair_;
  const std::shared_ptr<baton::counter::ProgressWordState> word_ =
      std::make_shared<baton::counter::ProgressWordState>(pair_.writer().waker());
};

TEST_F(EngineStripe, OfAPushLeavesAPathThatDoesNotReachTheSectionAnyMore) {
  pair_.start();
  send_one_layer();
  ASSERT_EQ(pair_.transfer->stripe.path, 0u);
  ASSERT_GT(pair_.transfer->stripe.units_left, 0u);
  come_back_out_of_reach();
  expect_the_rest_takes_the_other();
}

TEST_F(EngineStripe, OfAPullLeavesAPathThatDoesNotReachTheSectionAnyMore) {
  pair_.start_pull();
  send_one_layer();
  const auto& stripe = static_cast<baton::handoff::PullState&>(*pair_.grant).stripe;
  ASSERT_EQ(stripe.path, 0u);
  ASSERT_GT(stripe.bytes_left, 0u);
  come_back_out_of_reach();
  expect_the_rest_takes_the_other();
}

}  // namespace
}  // namespace baton_test
