#include "src/handoff/pull_state.h"

#include <gtest/gtest.h>

namespace baton::handoff {
namespace {

// Two layers of 8 tokens and 100 bytes.
class PullStateTest : public testing::Test {
 protected:
  PullStateTest() {
    state_.num_layers = 2;
    state_.reads = std::make_unique<PullState::Reads[]>(2);
    state_.whole.reserve(2);
    state_.first_ready = 2;
    for (uint32_t i = 0; i < 2; ++i) {
      state_.reads[i].owner = &state_;
      state_.reads[i].ordinal = i;
      state_.reads[i].tokens = {4, 12};
      state_.reads[i].bytes = 100;
    }
  }
  // All of the layer is final, and was staged on Path 3.
  PullState::Reads& asked(uint32_t layer) {
    state_.tokens_counted(layer, 8);
    state_.reads[layer].asked_tokens = 8;
    state_.reads[layer].used_paths = 1u << 3;
    return state_.reads[layer];
  }

  PullState state_;
};

TEST_F(PullStateTest, TheFirstLayerWithSomethingToReadIsKnown) {
  state_.tokens_counted(1, 3);
  EXPECT_EQ(state_.first_ready, 1u);
  state_.tokens_counted(0, 1);
  EXPECT_EQ(state_.first_ready, 0u);
  EXPECT_TRUE(state_.reads[1].has_ready());
}

TEST_F(PullStateTest, ALayerIsWholeWithItsLastReadOfItsLastByte) {
  auto& layer = asked(0);
  layer.on_accepted(3, 60);
  layer.on_op_done(3, false, BATON_OP_DONE);
  EXPECT_TRUE(state_.whole.empty()) << "40 bytes were not taken by a plug-in";
  layer.on_accepted(3, 40);
  EXPECT_EQ(state_.ops_on(3), 1u);
  EXPECT_EQ(state_.ops_out(), 1u);
  layer.on_op_done(3, false, BATON_OP_DONE);
  EXPECT_EQ(state_.whole, std::vector<uint32_t>{0});
  state_.look_at(layer);
  EXPECT_EQ(state_.whole.size(), 1u) << "said once";
}

TEST_F(PullStateTest, APostThatIsNotTakenIsNotRead) {
  auto& layer = asked(0);
  layer.on_accepted(3, 100);
  layer.on_refused(3, 100);
  state_.look_at(layer);
  EXPECT_TRUE(state_.whole.empty());
  EXPECT_EQ(state_.ops_out(), 0u);
}

TEST_F(PullStateTest, NothingIsWholeBeforeItIsFinal) {
  auto& layer = state_.reads[0];
  state_.tokens_counted(0, 7);
  layer.asked_tokens = 7;
  layer.on_accepted(3, 100);
  layer.on_op_done(3, false, BATON_OP_DONE);
  EXPECT_TRUE(state_.whole.empty());
}

TEST_F(PullStateTest, ADeadPathTakesLayersThatAreNotWholeWithIt) {
  auto& first = asked(0);
  first.on_accepted(3, 100);
  first.on_op_done(3, false, BATON_OP_DONE);
  auto& second = asked(1);
  second.on_accepted(3, 100);
  second.on_op_done(3, false, BATON_OP_IN_DOUBT);
  state_.path_fenced(3, 500);
  EXPECT_FALSE(first.is_lost);
  EXPECT_TRUE(second.is_lost);
  EXPECT_TRUE(state_.has_lost);
  state_.look_at(second);
  EXPECT_EQ(state_.whole, std::vector<uint32_t>{0});
  state_.first_ready = 2;
  state_.begin_again(second);
  EXPECT_EQ(state_.first_ready, 1u);
  EXPECT_TRUE(second.has_ready());
  EXPECT_EQ(second.accepted_bytes, 0u);
  EXPECT_EQ(second.used_paths, 0u);
}

// Lost with one Path, and again with the next, before it is whole.
TEST_F(PullStateTest, TheTimeThatLayersAreMissingCountsFromTheFirstDeathToTheLastWhole) {
  auto& first = asked(0);
  auto& second = asked(1);
  state_.path_fenced(3, 500);
  for (PullState::Reads* layer : {&first, &second}) {
    state_.begin_again(*layer);
    layer->used_paths = 1u << 2;
  }
  state_.no_longer_missing(first, 600);
  EXPECT_EQ(state_.settling_ns, 0) << "one is missing still";
  first.is_whole = true;
  state_.path_fenced(2, 700);
  state_.begin_again(second);
  state_.no_longer_missing(second, 900);
  EXPECT_EQ(state_.settling_ns, 400);
  EXPECT_EQ(state_.layers_read_again, 3u);
  state_.no_longer_missing(second, 1000);
  EXPECT_EQ(state_.settling_ns, 400);
}

TEST_F(PullStateTest, ARefusedReadLeavesNothingWhole) {
  auto& layer = asked(0);
  layer.on_accepted(3, 100);
  layer.on_op_done(3, false, BATON_OP_REFUSED);
  EXPECT_TRUE(state_.is_refused);
  EXPECT_TRUE(state_.whole.empty());
}

}  // namespace
}  // namespace baton::handoff
