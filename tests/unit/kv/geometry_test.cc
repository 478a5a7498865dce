#include "src/kv/geometry.h"

#include <gtest/gtest.h>

#include <ostream>
#include <vector>

namespace baton::kv {
namespace {

// 3 heads of 64 bf16 elements: rows of 128 bytes.
LayerGroup make_group(TokenOrder order, uint32_t block_tokens) {
  LayerGroup group;
  group.block_tokens = block_tokens;
  group.heads_total = 3;
  group.heads = 3;
  group.head_elements = 64;
  group.order = order;
  return group;
}

struct Cut {
  uint64_t target_row;
  uint32_t length_bytes;
  uint32_t last_token;
  std::vector<uint32_t> piece_rows;

  friend bool operator==(const Cut&, const Cut&) = default;
};

std::ostream& operator<<(std::ostream& out, const Cut& cut) {
  out << "{" << cut.target_row << ", " << cut.length_bytes << ", " << cut.last_token << ", {";
  for (const uint32_t rows : cut.piece_rows) out << rows << ", ";
  return out << "}}";
}

std::vector<Cut> cuts(const LayerGroup& source, const LayerGroup& target, TokenRange tokens,
                      uint32_t unit_bytes) {
  const Geometry geometry = make_geometry(source, target, shared_heads(source, target), unit_bytes);
  BlockWalk walk(geometry, tokens);
  UnitRows unit;
  std::vector<Cut> out;
  while (walk.next(unit)) {
    Cut cut{unit.target_row, unit.length_bytes, unit.last_token, {}};
    for (uint32_t i = 0; i < unit.num_pieces; ++i) cut.piece_rows.push_back(unit.pieces[i].rows);
    out.push_back(cut);
  }
  return out;
}

std::vector<uint32_t> ones(size_t count) { return std::vector<uint32_t>(count, 1); }

// The example of docs/units.md: tokens [5, 40) in target blocks of 32, source blocks of 16.
TEST(BlockWalkTest, NhdToNhdCutsAtUnitBytesAndSourceBlocks) {
  const LayerGroup source = make_group(TokenOrder::kNHD, 16);
  const LayerGroup target = make_group(TokenOrder::kNHD, 32);
  EXPECT_EQ(
      cuts(source, target, {5, 32}, 4096),
      (std::vector<Cut>{{15, 4096, 15, {32}}, {47, 4096, 26, {1, 31}}, {79, 2176, 31, {17}}}));
  EXPECT_EQ(cuts(source, target, {32, 40}, 4096), (std::vector<Cut>{{0, 3072, 39, {24}}}));
  EXPECT_EQ(cuts(source, target, {5, 32}, 1 << 20), (std::vector<Cut>{{15, 10368, 31, {33, 48}}}));
}

TEST(BlockWalkTest, HndToNhdCutsAtSixteenPieces) {
  const LayerGroup source = make_group(TokenOrder::kHND, 16);
  const LayerGroup target = make_group(TokenOrder::kNHD, 32);
  EXPECT_EQ(cuts(source, target, {5, 32}, 4096), (std::vector<Cut>{{15, 2048, 10, ones(16)},
                                                                   {31, 2048, 15, ones(16)},
                                                                   {47, 2048, 20, ones(16)},
                                                                   {63, 2048, 26, ones(16)},
                                                                   {79, 2048, 31, ones(16)},
                                                                   {95, 128, 31, ones(1)}}));
}

TEST(BlockWalkTest, PartialHndTargetHasOneExtentPerHead) {
  const LayerGroup source = make_group(TokenOrder::kHND, 16);
  const LayerGroup target = make_group(TokenOrder::kHND, 32);
  EXPECT_EQ(cuts(source, target, {5, 32}, 4096),
            (std::vector<Cut>{
                {5, 3456, 31, {11, 16}}, {37, 3456, 31, {11, 16}}, {69, 3456, 31, {11, 16}}}));
}

TEST(BlockWalkTest, WholeHndBlockOfOneSizeIsOnePiece) {
  const LayerGroup group = make_group(TokenOrder::kHND, 16);
  EXPECT_EQ(cuts(group, group, {32, 48}, 1 << 20), (std::vector<Cut>{{0, 6144, 47, {48}}}));
  // Of another size, each head of each source block is a piece.
  EXPECT_EQ(cuts(make_group(TokenOrder::kHND, 8), group, {32, 48}, 1 << 20),
            (std::vector<Cut>{{0, 6144, 47, {8, 8, 8, 8, 8, 8}}}));
}

// A unit that passes the end of a head holds the block's last token; one that does not ends where
// its bytes end.
TEST(BlockWalkTest, LastTokenOfHndUnits) {
  const LayerGroup group = make_group(TokenOrder::kHND, 40);
  EXPECT_EQ(
      cuts(group, group, {0, 40}, 4096),
      (std::vector<Cut>{
          {0, 4096, 31, {32}}, {32, 4096, 39, {32}}, {64, 4096, 39, {32}}, {96, 3072, 39, {24}}}));
}

TEST(BlockWalkTest, HeadSliceOfAnNhdTargetHasOneExtentPerToken) {
  const LayerGroup target = make_group(TokenOrder::kNHD, 4);
  LayerGroup source = target;
  source.head_first = 1;
  source.heads = 2;
  EXPECT_EQ(cuts(source, target, {4, 7}, 4096),
            (std::vector<Cut>{{1, 256, 4, {2}}, {4, 256, 5, {2}}, {7, 256, 6, {2}}}));
  // The other way round the target is dense, and each token's slice is a piece.
  EXPECT_EQ(cuts(target, source, {4, 7}, 4096), (std::vector<Cut>{{0, 768, 6, {2, 2, 2}}}));
}

TEST(BlockWalkTest, OneHeadOrOneTokenMakesTheOrdersEqual) {
  LayerGroup nhd = make_group(TokenOrder::kNHD, 16);
  nhd.heads_total = nhd.heads = 1;
  LayerGroup hnd = nhd;
  hnd.order = TokenOrder::kHND;
  EXPECT_EQ(cuts(hnd, nhd, {0, 16}, 4096), (std::vector<Cut>{{0, 2048, 15, {16}}}));
  EXPECT_EQ(cuts(nhd, hnd, {0, 16}, 4096), (std::vector<Cut>{{0, 2048, 15, {16}}}));
  EXPECT_EQ(cuts(make_group(TokenOrder::kHND, 1), make_group(TokenOrder::kNHD, 1), {7, 8}, 4096),
            (std::vector<Cut>{{0, 384, 7, {3}}}));
}

TEST(BlockWalkTest, LongRowsAreCutInParts) {
  LayerGroup group = make_group(TokenOrder::kNHD, 2);
  group.head_elements = 5000;  // 10000 bytes
  const Geometry geometry = make_geometry(group, group, heads_of(group), 4096);
  BlockWalk walk(geometry, {0, 2});
  UnitRows unit;
  for (uint32_t row = 0; row < 6; ++row) {
    for (const uint32_t part : {0u, 4096u, 8192u}) {
      ASSERT_TRUE(walk.next(unit));
      EXPECT_EQ(unit.target_row, row);
      EXPECT_EQ(unit.part_offset_bytes, part);
      EXPECT_EQ(unit.length_bytes, part == 8192 ? 1808u : 4096u);
      EXPECT_EQ(unit.last_token, row / 3);
    }
  }
  EXPECT_FALSE(walk.next(unit));
}

}  // namespace
}  // namespace baton::kv
