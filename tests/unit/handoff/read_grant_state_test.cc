#include "src/handoff/read_grant_state.h"

#include <gtest/gtest.h>

#include <vector>

#include "src/base/clock.h"

namespace baton::handoff {
namespace {

// Two layers: one hands over all tokens of [10, 110), one the last 20 of them.
class ReadGrantStateTest : public testing::Test {
 protected:
  ReadGrantStateTest() {
    state_.clock = &clock_;
    state_.tokens = {10, 110};
    state_.num_layers = 2;
    state_.layers = std::make_unique<TransferState::LayerSent[]>(2);
    state_.told = std::make_unique<ReadGrantState::Layer[]>(2);
    state_.told[0].tokens = {10, 110};
    state_.told[1].tokens = {90, 110};
  }
  void start() { state_.start(std::vector<wire::SlotReference>{{7, 1}, {8, 2}}); }

  base::ManualClock clock_{1000};
  ReadGrantState state_;
};

TEST_F(ReadGrantStateTest, ALayerCountsTheTokensOfItsGroup) {
  for (uint32_t layer = 0; layer < 2; ++layer) state_.layer_final(layer, {10, 50});
  EXPECT_EQ(state_.told[0].final_tokens, 40u);
  EXPECT_EQ(state_.told[1].final_tokens, 0u);
  for (uint32_t layer = 0; layer < 2; ++layer) state_.layer_final(layer, {50, 95});
  EXPECT_EQ(state_.told[1].final_tokens, 5u);
  for (uint32_t layer = 0; layer < 2; ++layer) state_.layer_final(layer, {95, 110});
  EXPECT_EQ(state_.told[0].final_tokens, 100u);
  EXPECT_EQ(state_.told[1].final_tokens, 20u);
}

TEST_F(ReadGrantStateTest, StartsWithTheReadersSlots) {
  EXPECT_TRUE(state_.signalled_on(0).empty());
  state_.layer_final(0, {10, 50});
  state_.has_untold = false;
  start();
  EXPECT_TRUE(state_.reader_started);
  EXPECT_TRUE(state_.has_untold) << "what became final before the reader came";
  ASSERT_EQ(state_.slots.size(), 2u);
  EXPECT_EQ(state_.slots[1].slot.value, 8u);
  EXPECT_EQ(state_.slots[1].generation, 2u);
  EXPECT_EQ(state_.slots[1].ordinal, 1u);
  EXPECT_EQ(state_.signalled_on(3).size(), 2u);
}

TEST_F(ReadGrantStateTest, WhatADeadPathLostIsToldAgain) {
  start();
  state_.layer_final(0, {10, 110});
  state_.staged(0, 0, 60);
  state_.staged(1, 0, 40);
  state_.on_signalled(0, 0, 50);  // the rest of it was staged when the Path died
  state_.on_signalled(1, 0, 40);
  state_.has_untold = false;
  EXPECT_FALSE(state_.path_died(0, std::vector<uint64_t>{51, 0})) << "more than was signalled";
  EXPECT_EQ(state_.told[0].told, 100u);
  EXPECT_TRUE(state_.path_died(0, std::vector<uint64_t>{30, 0}));
  EXPECT_EQ(state_.told[0].told, 70u);
  EXPECT_TRUE(state_.has_untold);
  EXPECT_EQ(state_.signalled_on(0)[0], 0u) << "the ordinal's next Path begins anew";
  EXPECT_EQ(state_.signalled_on(1)[0], 40u);
  EXPECT_FALSE(state_.is_all_told());
  state_.staged(1, 0, 30);
  state_.told[1].told = 20;
  EXPECT_TRUE(state_.is_all_told());
}

TEST_F(ReadGrantStateTest, TheRecordSaysWhenALayerWasTold) {
  start();
  clock_.advance_ns(5);
  state_.on_signalled(0, 1, 15);
  EXPECT_EQ(state_.layers[1].posted_ns, 0);
  state_.on_signalled(0, 1, 5);
  EXPECT_EQ(state_.layers[1].posted_ns, 1005);
  EXPECT_EQ(state_.immediates, 2u);
}

}  // namespace
}  // namespace baton::handoff
