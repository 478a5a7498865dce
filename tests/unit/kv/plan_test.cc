#include "src/kv/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/support/alloc_count.h"

namespace baton::kv {
namespace {

using BlockLists = std::vector<std::vector<uint32_t>>;

LayerGroup make_group(uint32_t block_tokens, uint32_t section) {
  LayerGroup group;
  group.block_tokens = block_tokens;
  group.heads_total = 3;
  group.heads = 3;
  group.head_elements = 64;
  group.tensors_per_layer = 2;
  group.num_blocks = 10;
  group.layers = {4, 5};
  for (uint64_t i = 0; i < 4; ++i) {
    group.places.push_back({SectionId(section), i << 20, block_bytes(group)});
  }
  return group;
}

// Tokens [5, 40) from blocks of 16 to blocks of 32: the example of docs/units.md.
class PlanTest : public testing::Test {
 protected:
  Result<Plan> create() const {
    PlanRequest request;
    request.source = &source_;
    request.target = &target_;
    if (knows_source_) request.source_blocks = source_blocks_;
    request.target_blocks = target_blocks_;
    request.heads = heads_;
    request.tokens = tokens_;
    request.unit_bytes = unit_bytes_;
    return Plan::create(request);
  }
  void expect_error(StatusCode code, const std::string& message) const {
    const auto plan = create();
    EXPECT_EQ(plan.code(), code) << message;
    EXPECT_EQ(plan.status().message(), message);
  }

  Layout source_{{make_group(16, 1)}};
  Layout target_{{make_group(32, 2)}};
  BlockLists source_blocks_{{3, 9, 4}};
  BlockLists target_blocks_{{7, 1}};
  std::vector<HeadRange> heads_;
  TokenRange tokens_{5, 40};
  uint32_t unit_bytes_ = 4096;
  bool knows_source_ = true;
};

TEST_F(PlanTest, AddressesUnitsAndSources) {
  const auto plan = create();
  ASSERT_TRUE(plan.is_ok()) << plan.status().to_string();
  EXPECT_EQ(plan->num_layers(), 2u);
  EXPECT_EQ(plan->layer_number(1), 5u);
  EXPECT_EQ(plan->units_of_layer(1), 8u);
  EXPECT_EQ(plan->bytes_of_layer(1), 2u * 35 * 384);
  EXPECT_EQ(plan->total_units(), 16u);
  EXPECT_EQ(plan->total_bytes(), 4u * 35 * 384);
  EXPECT_TRUE(plan->knows_source());
  UnitCursor cursor = plan->cursor(1);
  Unit unit;
  ASSERT_TRUE(cursor.next(unit));
  ASSERT_TRUE(cursor.next(unit));
  // Rows 32 to 63 of tokens [5, 32): K of layer 5 is the third tensor.
  EXPECT_EQ(unit.target_section, SectionId(2));
  EXPECT_EQ(unit.target_offset_bytes, (2u << 20) + 7 * 12288 + 47 * 128);
  EXPECT_EQ(unit.length_bytes, 4096u);
  EXPECT_EQ(unit.layer_ordinal, 1u);
  EXPECT_EQ(unit.group, 0u);
  EXPECT_EQ(unit.block_position, 0u);
  ASSERT_EQ(unit.num_sources, 2u);
  EXPECT_EQ(unit.sources[0], (SourceRange{(2u << 20) + 3 * 6144 + 47 * 128, SectionId(1), 128}));
  EXPECT_EQ(unit.sources[1], (SourceRange{(2u << 20) + 9 * 6144, SectionId(1), 31 * 128}));
}

TEST_F(PlanTest, ChunksSendWhatTheyComplete) {
  const auto plan = create();
  ASSERT_TRUE(plan.is_ok());
  // Last tokens of a tensor's four units: 15, 26, 31, 39.
  EXPECT_EQ(plan->units_in(0, {5, 15}), 0u);
  EXPECT_EQ(plan->units_in(0, {5, 16}), 2u);
  EXPECT_EQ(plan->units_in(0, {16, 32}), 4u);
  EXPECT_EQ(plan->units_in(0, {32, 40}), 2u);
  EXPECT_EQ(plan->units_in(0, {0, UINT32_MAX}), 8u);
  EXPECT_EQ(plan->units_in(0, {40, 50}), 0u);
  EXPECT_EQ(plan->units_in(0, {20, 10}), 0u);
  Unit unit;
  EXPECT_FALSE(plan->cursor(0, {40, 50}).next(unit));
  EXPECT_FALSE(UnitCursor().next(unit));
}

TEST_F(PlanTest, CountsWithoutTheSourcesBlocks) {
  knows_source_ = false;
  const auto plan = create();
  ASSERT_TRUE(plan.is_ok());
  EXPECT_FALSE(plan->knows_source());
  EXPECT_EQ(plan->total_units(), 16u);
  Unit unit;
  ASSERT_TRUE(plan->cursor(0).next(unit));
  EXPECT_EQ(unit.num_sources, 0u);
  EXPECT_EQ(unit.length_bytes, 4096u);
}

TEST_F(PlanTest, KeepsNothingOfTheRequestAndMayBeMoved) {
  auto created = create();
  ASSERT_TRUE(created.is_ok());
  UnitCursor cursor = created->cursor(0);
  const Plan plan = std::move(created).value();
  source_ = target_ = Layout();
  source_blocks_.clear();
  target_blocks_.clear();
  Unit unit;
  uint32_t units = 0;
  while (cursor.next(unit)) ++units;
  EXPECT_EQ(units, plan.units_of_layer(0));
}

TEST_F(PlanTest, EnumerationAllocatesNothing) {
  const auto plan = create();
  ASSERT_TRUE(plan.is_ok());
  const uint64_t before = baton_test::allocations_of_thread();
  UnitCursor cursor = plan->cursor(0, {5, 30});
  Unit unit;
  uint64_t units = 0;
  while (cursor.next(unit)) ++units;
  EXPECT_EQ(plan->units_in(0, {5, 30}), units);
  EXPECT_EQ(baton_test::allocations_of_thread(), before);
}

TEST_F(PlanTest, GroupsHaveTheirOwnTokensAndLists) {
  LayerGroup window = make_group(16, 1);
  window.kind = GroupKind::kSlidingWindow;
  window.window_tokens = 8;
  window.layers = {6, 7};
  source_.groups.push_back(window);
  target_.groups.push_back(window);
  source_blocks_.push_back({0});
  target_blocks_.push_back({2});
  const auto plan = create();
  ASSERT_TRUE(plan.is_ok()) << plan.status().to_string();
  EXPECT_EQ(plan->num_layers(), 4u);
  EXPECT_EQ(plan->bytes_of_layer(3), 2u * 8 * 384);
  EXPECT_EQ(plan->units_in(3, {5, 32}), 0u);
  EXPECT_EQ(plan->units_in(3, {32, 40}), 2u);
}

TEST_F(PlanTest, SendsOnlyTheHeadsThatAreNamed) {
  LayerGroup other = make_group(16, 1);
  other.layers = {6, 7};
  source_.groups.push_back(other);
  target_.groups.push_back(other);
  source_blocks_.push_back({0, 1, 2});
  target_blocks_.push_back({0, 1, 2});
  heads_ = {{1, 1}, {}};
  const auto plan = create();
  ASSERT_TRUE(plan.is_ok()) << plan.status().to_string();
  EXPECT_EQ(plan->num_layers(), 4u);
  // One row a token in the target: an extent each.
  EXPECT_EQ(plan->units_of_layer(0), 2u * 35);
  EXPECT_EQ(plan->bytes_of_layer(0), 2u * 35 * 128);
  EXPECT_EQ(plan->units_of_layer(2), 0u);
  EXPECT_EQ(plan->units_in(2, {5, 40}), 0u);
  EXPECT_EQ(plan->total_bytes(), 4u * 35 * 128);
  Unit unit;
  EXPECT_FALSE(plan->cursor(3).next(unit));
  ASSERT_TRUE(plan->cursor(0).next(unit));
  EXPECT_EQ(unit.target_offset_bytes, 7u * 12288 + (5 * 3 + 1) * 128);
  EXPECT_EQ(unit.sources[0], (SourceRange{3 * 6144 + (5 * 3 + 1) * 128, SectionId(1), 128}));
}

TEST_F(PlanTest, RefusesHeadsThatNotBothHold) {
  heads_ = {{0, 2}, {0, 1}};
  expect_error(StatusCode::kInvalidArgument, "heads are named for 2 of 1 layer groups");
  heads_ = {{}};
  expect_error(StatusCode::kInvalidArgument, "the request names no head of any layer group");
  heads_ = {{1, 3}};
  expect_error(StatusCode::kMismatch,
               "group 0: heads [1, 4) are to be sent; source holds [0, 3), target holds [0, 3)");
}

TEST_F(PlanTest, RefusesBadTokensAndUnitBytes) {
  constexpr auto kInvalid = StatusCode::kInvalidArgument;
  tokens_ = {40, 5};
  expect_error(kInvalid, "token range [40, 5) is reversed");
  tokens_ = {5, 5};
  expect_error(kInvalid, "token range [5, 5) is empty");
  tokens_ = {5, 40};
  unit_bytes_ = 0;
  expect_error(kInvalid, "unit_bytes is 0, must be in [4096, 16777216]");
  unit_bytes_ = kMaxUnitBytes + 1;
  expect_error(kInvalid, "unit_bytes is 16777217, must be in [4096, 16777216]");
}

TEST_F(PlanTest, RefusesBadLists) {
  source_blocks_ = {{3, 10, 4}};
  expect_error(StatusCode::kOutOfRange,
               "source block list of group 0: entry 1 is block 10, the layout has 10 blocks");
  source_blocks_ = {{3, 9}};
  expect_error(StatusCode::kInvalidArgument,
               "source block list of group 0 has 2 entries, too few: tokens [5, 40) touch 3 blocks "
               "of 16 tokens");
  source_blocks_ = {};
  expect_error(StatusCode::kInvalidArgument, "source has 0 block lists for 1 layer groups");
  source_blocks_ = {{3, 9, 4}};
  target_blocks_ = {{7, UINT32_MAX}};
  expect_error(StatusCode::kOutOfRange,
               "target block list of group 0: entry 1 is block 4294967295, the layout has 10 "
               "blocks");
  target_blocks_ = {{7, 1, 2}};
  expect_error(StatusCode::kInvalidArgument,
               "target block list of group 0 has 3 entries, too many: tokens [5, 40) touch 2 "
               "blocks of 32 tokens");
  target_blocks_ = {{7, 7}};
  expect_error(StatusCode::kInvalidArgument,
               "target block list of group 0: entries 0 and 1 are both block 7");
  target_blocks_ = {};
  expect_error(StatusCode::kInvalidArgument, "target has 0 block lists for 1 layer groups");
}

TEST_F(PlanTest, RefusesLayoutsThatDoNotMatch) {
  target_.groups[0].dtype = DType::kF16;
  expect_error(StatusCode::kMismatch, "group 0: dtype: source has bf16, target has f16");
  target_.groups[0].dtype = DType::kBf16;
  source_.groups[0].heads = 1;
  target_.groups[0].head_first = 1;
  target_.groups[0].heads = 2;
  expect_error(StatusCode::kMismatch,
               "group 0: source holds heads [0, 1), target holds [1, 3): none in common");
  source_.groups[0].num_blocks = 0;
  expect_error(StatusCode::kInvalidArgument,
               "source layout: group 0 (full_attention): num_blocks is 0, must be in [1, "
               "4294967295]");
}

TEST_F(PlanTest, RefusesMoreRowsThanItsLimit) {
  for (Layout* layout : {&source_, &target_}) {
    LayerGroup& group = layout->groups[0];
    group.block_tokens = kMaxBlockTokens;
    group.heads = group.heads_total = 1024;
    group.head_elements = 1;
    for (TensorPlace& place : group.places) place.block_stride_bytes = block_bytes(group);
  }
  tokens_ = {0, 131073};
  source_blocks_ = target_blocks_ = {{0}};
  expect_error(StatusCode::kOutOfRange,
               "group 0: tokens [0, 131073) of 1024 heads are 134218752 rows, the limit is "
               "134217728");
}

// Counting long rows takes no time by their bytes.
TEST_F(PlanTest, CountsLongRowsByArithmetic) {
  for (Layout* layout : {&source_, &target_}) {
    LayerGroup& group = layout->groups[0];
    group.block_tokens = kMaxBlockTokens;
    group.num_blocks = 1;
    group.head_elements = 65536;
    group.order = TokenOrder::kHND;
    for (TensorPlace& place : group.places) place.block_stride_bytes = block_bytes(group);
  }
  tokens_ = {0, 1000000};
  source_blocks_ = target_blocks_ = {{0}};
  const auto plan = create();
  ASSERT_TRUE(plan.is_ok()) << plan.status().to_string();
  EXPECT_EQ(plan->units_of_layer(0), 2u * 3 * 1000000 * 32);
  EXPECT_EQ(plan->units_in(0, {10, 12}), 2u * 3 * 2 * 32);
  source_.groups[0].head_elements = target_.groups[0].head_elements = kMaxHeadElements;
  for (Layout* layout : {&source_, &target_}) {
    for (TensorPlace& place : layout->groups[0].places) {
      place.block_stride_bytes = block_bytes(layout->groups[0]);
    }
  }
  expect_error(StatusCode::kOutOfRange,
               "group 0: a layer has 49152000000 units, the limit is 2^32 - 1");
}

}  // namespace
}  // namespace baton::kv
