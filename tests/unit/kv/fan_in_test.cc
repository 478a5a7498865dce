#include "src/kv/fan_in.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

namespace baton::kv {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

LayerGroup make_group(HeadRange held) {
  LayerGroup group;
  group.block_tokens = 16;
  group.heads_total = 8;
  group.head_first = held.first;
  group.heads = held.count;
  group.head_elements = 64;
  group.num_blocks = 32;
  group.layers = {0};
  group.places = {{SectionId(1), 0, block_bytes(group)}};
  return group;
}

// Tokens [5, 70) of 8 heads in blocks of 16: five list entries.
class FanInTest : public testing::Test {
 protected:
  void add_writer(HeadRange held, TokenRange tokens = {}, std::vector<HeadRange> heads = {}) {
    layouts_.push_back(Layout{{make_group(held)}});
    named_.push_back(std::move(heads));
    request_.writers.push_back({&layouts_.back(), tokens, named_.back()});
  }
  // Both sides get a second group.
  void add_group(const LayerGroup& group) {
    target_.groups.push_back(group);
    for (Layout& layout : layouts_) layout.groups.push_back(group);
    blocks_.push_back(std::vector<uint32_t>(blocks_of_group(group, request_.tokens)));
    for (uint32_t i = 0; i < blocks_.back().size(); ++i) blocks_.back()[i] = i;
  }
  Result<std::vector<WriterShare>> divide() {
    request_.target = &target_;
    request_.target_blocks = blocks_;
    return divide_target(request_);
  }
  void expect_error(StatusCode code, const std::string& message) {
    const auto shares = divide();
    EXPECT_EQ(shares.code(), code) << message;
    EXPECT_EQ(shares.status().message(), message);
  }

  FanInTest() { request_.tokens = {5, 70}; }

  Layout target_{{make_group({0, 8})}};
  std::vector<std::vector<uint32_t>> blocks_{{9, 3, 7, 1, 20}};
  std::deque<Layout> layouts_;
  std::deque<std::vector<HeadRange>> named_;
  FanInRequest request_;
};

TEST_F(FanInTest, HeadsAreDividedAndListsAreWhole) {
  for (const HeadRange held : {HeadRange{0, 4}, HeadRange{0, 4}, HeadRange{4, 4}}) add_writer(held);
  const auto shares = divide();
  ASSERT_TRUE(shares.is_ok()) << shares.status().to_string();
  EXPECT_THAT((*shares)[0].heads, ElementsAre(HeadRange{0, 4}));
  EXPECT_THAT((*shares)[1].heads, IsEmpty());
  EXPECT_THAT((*shares)[2].heads, ElementsAre(HeadRange{4, 4}));
  EXPECT_EQ((*shares)[2].tokens, (TokenRange{5, 70}));
  EXPECT_THAT((*shares)[2].target_blocks, ElementsAre(ElementsAre(9, 3, 7, 1, 20)));
}

TEST_F(FanInTest, TokensArePartedWithinABlock) {
  add_writer({0, 8}, {5, 40});
  add_writer({0, 4}, {40, 70});
  add_writer({4, 4}, {40, 70});
  const auto shares = divide();
  ASSERT_TRUE(shares.is_ok()) << shares.status().to_string();
  EXPECT_THAT((*shares)[0].target_blocks, ElementsAre(ElementsAre(9, 3, 7)));
  EXPECT_THAT((*shares)[1].target_blocks, ElementsAre(ElementsAre(7, 1, 20)));
  EXPECT_THAT((*shares)[1].heads, ElementsAre(HeadRange{0, 4}));
  EXPECT_THAT((*shares)[2].heads, ElementsAre(HeadRange{4, 4}));
}

TEST_F(FanInTest, WhatTwoWouldWriteIsRefused) {
  add_writer({0, 8}, {}, {{0, 5}});
  add_writer({0, 8}, {}, {{4, 4}});
  expect_error(StatusCode::kInvalidArgument,
               "group 0: writer 0 and writer 1 would both write tokens [5, 70) of heads [4, 5)");
  request_.writers.clear();
  add_writer({0, 8}, {5, 41});
  add_writer({0, 8}, {40, 70});
  expect_error(StatusCode::kInvalidArgument,
               "group 0: writer 0 and writer 1 would both write tokens [40, 41) of heads [0, 8)");
}

TEST_F(FanInTest, WhatNobodyWritesIsRefusedUnlessAskedFor) {
  add_writer({0, 3});
  add_writer({4, 4});
  expect_error(StatusCode::kMismatch,
               "group 0: nobody writes token 5 of head 3, which the target takes");
  request_.allow_gaps = true;
  EXPECT_TRUE(divide().is_ok());
  request_.allow_gaps = false;
  request_.writers.clear();
  add_writer({0, 8}, {5, 30});
  add_writer({0, 8}, {31, 70});
  expect_error(StatusCode::kMismatch,
               "group 0: nobody writes token 30 of head 0, which the target takes");
  request_.writers.clear();
  add_writer({0, 8}, {5, 69});
  expect_error(StatusCode::kMismatch,
               "group 0: nobody writes token 69 of head 0, which the target takes");
  request_.writers.clear();
  add_writer({0, 8}, {5, 40});
  add_writer({0, 7}, {40, 70});
  expect_error(StatusCode::kMismatch,
               "group 0: nobody writes token 40 of head 7, which the target takes");
}

TEST_F(FanInTest, SomebodyWritesSomething) {
  target_.groups[0] = make_group({0, 2});
  add_writer({4, 4});
  request_.allow_gaps = true;
  expect_error(StatusCode::kMismatch, "none of the 1 writers has a head of the target to send");
}

TEST_F(FanInTest, AWindowAndAStateAreNotPartedByTokens) {
  add_writer({0, 8}, {5, 40});
  add_writer({0, 8}, {40, 70});
  LayerGroup window = make_group({0, 8});
  window.kind = GroupKind::kSlidingWindow;
  window.window_tokens = 20;
  add_group(window);
  expect_error(StatusCode::kInvalidArgument,
               "writer 0: tokens [5, 40) of [5, 70): group 1 (sliding_window) cannot be parted by "
               "tokens, only by heads");
  // By heads it is.
  request_.writers.clear();
  layouts_.clear();
  add_writer({0, 5});
  add_writer({5, 3});
  for (size_t i = 0; i < 2; ++i) {
    window.head_first = i == 0 ? 0 : 5;
    window.heads = i == 0 ? 5 : 3;
    window.places[0].block_stride_bytes = block_bytes(window);
    layouts_[i].groups.push_back(window);
  }
  const auto shares = divide();
  ASSERT_TRUE(shares.is_ok()) << shares.status().to_string();
  EXPECT_THAT((*shares)[1].heads, ElementsAre(HeadRange{5, 3}, HeadRange{5, 3}));
  EXPECT_THAT((*shares)[1].target_blocks[1], ElementsAre(0, 1));
}

TEST_F(FanInTest, RefusesWhatContradictsItself) {
  expect_error(StatusCode::kInvalidArgument, "0 writers: must be in [1, 1024]");
  add_writer({0, 8}, {4, 70});
  expect_error(StatusCode::kOutOfRange,
               "writer 0: tokens [4, 70) are not within the request's [5, 70)");
  request_.writers.clear();
  add_writer({0, 4}, {}, {{0, 4}});
  add_writer({4, 4});
  expect_error(StatusCode::kInvalidArgument,
               "writer 0 names its heads, writer 1 of the same tokens does not: all or none");
  request_.writers.clear();
  add_writer({0, 4}, {}, {{0, 4}});
  add_writer({4, 4}, {}, {{3, 5}});
  expect_error(StatusCode::kMismatch,
               "writer 1: group 0: heads [3, 8) are to be sent; source holds [4, 8), target holds "
               "[0, 8)");
  request_.writers.clear();
  add_writer({0, 8}, {}, {{UINT32_MAX, 2}});
  expect_error(StatusCode::kMismatch,
               "writer 0: group 0: heads [4294967295, 4294967297) are to be sent; source holds [0, "
               "8), target holds [0, 8)");
  request_.writers.clear();
  add_writer({0, 8}, {}, {{0, 4}, {4, 4}});
  expect_error(StatusCode::kInvalidArgument, "writer 0: heads are named for 2 of 1 layer groups");
  blocks_ = {{9, 3, 7, 1, 3}};
  expect_error(StatusCode::kInvalidArgument,
               "target block list of group 0: entries 1 and 4 are both block 3");
  blocks_ = {{9, 3, 7, 1}};
  expect_error(StatusCode::kInvalidArgument,
               "target block list of group 0 has 4 entries, too few: tokens [5, 70) touch 5 blocks "
               "of 16 tokens");
  request_.tokens = {5, 5};
  expect_error(StatusCode::kInvalidArgument, "token range [5, 5) is empty");
}

}  // namespace
}  // namespace baton::kv
