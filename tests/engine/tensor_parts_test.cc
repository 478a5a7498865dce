// How layers are cut into parts: every head and column once, whatever the counts.
#include "examples/reference_engine/tensor_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace {

using baton::StatusCode;
using baton_engine::check_ranks;
using baton_engine::IndexRange;
using baton_engine::kAllParts;
using baton_engine::kTensorParts;
using baton_engine::ModelConfig;
using baton_engine::TensorPart;

ModelConfig config_of(uint32_t heads, uint32_t kv_heads, uint32_t feed_forward = 128) {
  ModelConfig config;
  config.name = "model";
  config.heads = heads;
  config.kv_heads = kv_heads;
  config.head_dim = 16;
  config.feed_forward = feed_forward;
  return config;
}

struct Shares {
  uint32_t heads;
  uint32_t kv_heads;
  // Of parts 0, 1, 2.
  std::vector<IndexRange> query;
  std::vector<IndexRange> held;
  std::vector<uint32_t> owned;  // how many KV heads each hands over
};

TEST(TensorParts, AreAsStated) {
  const Shares cases[] = {
      // SmolLM2-135M: one KV head each.
      {9, 3, {{0, 3}, {3, 3}, {6, 3}}, {{0, 1}, {1, 1}, {2, 1}}, {1, 1, 1}},
      {12, 6, {{0, 4}, {4, 4}, {8, 4}}, {{0, 2}, {2, 2}, {4, 2}}, {2, 2, 2}},
      // Uneven: the first parts have one more.
      {8, 4, {{0, 4}, {4, 2}, {6, 2}}, {{0, 2}, {2, 1}, {3, 1}}, {2, 1, 1}},
      {5, 5, {{0, 2}, {2, 2}, {4, 1}}, {{0, 2}, {2, 2}, {4, 1}}, {2, 2, 1}},
      // Copies: fewer KV heads than parts.
      {4, 2, {{0, 2}, {2, 1}, {3, 1}}, {{0, 1}, {1, 1}, {1, 1}}, {1, 1, 0}},
      {6, 2, {{0, 2}, {2, 2}, {4, 2}}, {{0, 1}, {0, 2}, {1, 1}}, {1, 1, 0}},
      {6, 1, {{0, 2}, {2, 2}, {4, 2}}, {{0, 1}, {0, 1}, {0, 1}}, {1, 0, 0}},
      // Fewer heads than parts: a process alone can do without the third.
      {2, 1, {{0, 1}, {1, 1}, {2, 0}}, {{0, 1}, {0, 1}, {0, 0}}, {1, 0, 0}},
  };
  for (const Shares& one : cases) {
    SCOPED_TRACE(std::to_string(one.heads) + " heads, " + std::to_string(one.kv_heads));
    const ModelConfig config = config_of(one.heads, one.kv_heads);
    for (uint32_t index = 0; index < kTensorParts; ++index) {
      const TensorPart part = baton_engine::tensor_part(config, index);
      EXPECT_EQ(part.query_heads, one.query[index]) << index;
      EXPECT_EQ(part.kv_heads, one.held[index]) << index;
      EXPECT_EQ(part.owned_kv_heads.count, one.owned[index]) << index;
    }
    EXPECT_EQ(baton_engine::query_heads_of(config, kAllParts), (IndexRange{0, one.heads}));
    EXPECT_EQ(baton_engine::kv_heads_of(config, kAllParts), (IndexRange{0, one.kv_heads}));
    EXPECT_EQ(baton_engine::owned_kv_heads_of(config, kAllParts), (IndexRange{0, one.kv_heads}));
  }
}

// The ranges adjoin and end where the whole ends.
void expect_covers(const std::vector<IndexRange>& ranges, uint32_t count) {
  uint32_t next = 0;
  for (const IndexRange& range : ranges) {
    if (range.is_empty()) continue;
    ASSERT_EQ(range.first, next);
    next = range.end();
  }
  ASSERT_EQ(next, count);
}

TEST(TensorParts, CoverEveryHeadAndColumnOnce) {
  for (uint32_t kv_heads = 1; kv_heads <= 12; ++kv_heads) {
    for (uint32_t group = 1; group <= 8; ++group) {
      for (uint32_t columns = 1; columns <= 7; ++columns) {
        const ModelConfig config = config_of(kv_heads * group, kv_heads, columns);
        SCOPED_TRACE(std::to_string(config.heads) + " heads, " + std::to_string(kv_heads));
        std::vector<IndexRange> query;
        std::vector<IndexRange> owned;
        std::vector<IndexRange> feed_forward;
        for (uint32_t index = 0; index < kTensorParts; ++index) {
          const TensorPart part = baton_engine::tensor_part(config, index);
          query.push_back(part.query_heads);
          owned.push_back(part.owned_kv_heads);
          feed_forward.push_back(part.feed_forward);
          // What is owned is held, and every query head finds its KV head.
          EXPECT_EQ(baton_engine::overlap(part.owned_kv_heads, part.kv_heads).count,
                    part.owned_kv_heads.count);
          for (uint32_t head = part.query_heads.first; head < part.query_heads.end(); ++head) {
            EXPECT_GE(head / group, part.kv_heads.first);
            EXPECT_LT(head / group, part.kv_heads.end());
          }
        }
        expect_covers(query, config.heads);
        expect_covers(owned, kv_heads);
        expect_covers(feed_forward, columns);
      }
    }
  }
}

TEST(TensorParts, OfRanks) {
  EXPECT_EQ(baton_engine::parts_of_rank(0, 1), kAllParts);
  for (uint32_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(baton_engine::parts_of_rank(rank, 3), (IndexRange{rank, 1}));
  }
  EXPECT_TRUE(check_ranks(config_of(2, 1), 1).is_ok());
  EXPECT_TRUE(check_ranks(config_of(3, 1), 3).is_ok());
  EXPECT_EQ(check_ranks(config_of(9, 3), 2).code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(check_ranks(config_of(2, 1), 3).message(),
              testing::HasSubstr("2 heads and a feed-forward size of 128 do not fill 3"));
  EXPECT_FALSE(check_ranks(config_of(9, 3, 2), 3).is_ok());
}

TEST(TensorParts, Overlap) {
  using baton_engine::overlap;
  EXPECT_EQ(overlap({0, 3}, {2, 4}), (IndexRange{2, 1}));
  EXPECT_EQ(overlap({2, 4}, {0, 3}), (IndexRange{2, 1}));
  EXPECT_EQ(overlap({0, 9}, {4, 2}), (IndexRange{4, 2}));
  EXPECT_TRUE(overlap({0, 2}, {2, 2}).is_empty());
  EXPECT_TRUE(overlap({5, 2}, {0, 2}).is_empty());
}

}  // namespace
