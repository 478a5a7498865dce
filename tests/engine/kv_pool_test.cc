#include "examples/reference_engine/kv_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "examples/reference_engine/number_formats.h"
#include "examples/reference_engine/sequence.h"

namespace {

using baton::StatusCode;
using baton_engine::KvOrder;
using baton_engine::KvPool;
using baton_engine::KvPoolOptions;
using baton_engine::KvShape;
using baton_engine::KvTensor;
using baton_engine::KvType;
using baton_engine::Sequence;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

KvShape small_shape() {
  KvShape shape;
  shape.layers = 2;
  shape.kv_heads = 3;
  shape.head_dim = 4;
  shape.num_blocks = 5;
  shape.block_tokens = 2;
  return shape;
}

uint64_t head_offset(KvShape shape, KvOrder order, uint32_t token, uint32_t head) {
  shape.order = order;
  return shape.head_offset_bytes(token, head);
}

TEST(KvPoolTest, OffsetsFollowTheStatedLayout) {
  KvShape shape = small_shape();
  EXPECT_EQ(shape.block_bytes(), 2U * 3 * 4 * 2);
  EXPECT_EQ(shape.region_bytes(), shape.block_bytes() * 5);
  EXPECT_EQ(shape.pool_bytes(), shape.region_bytes() * 4);
  EXPECT_EQ(shape.region_offset_bytes(1, KvTensor::kValue), shape.region_bytes() * 3);
  for (const KvType type : {KvType::kBFloat16, KvType::kFloat32}) {
    shape.type = type;
    for (uint32_t token = 0; token < 2; ++token) {
      for (uint32_t head = 0; head < 3; ++head) {
        EXPECT_EQ(head_offset(shape, KvOrder::kNhd, token, head),
                  (token * 3 + head) * 4 * shape.element_bytes());
        EXPECT_EQ(head_offset(shape, KvOrder::kHnd, token, head),
                  (head * 2 + token) * 4 * shape.element_bytes());
      }
    }
  }
}

// Every value stored lands where the layout says, and nowhere else.
TEST(KvPoolTest, StoresEachHeadAtItsPlaceAndNothingElse) {
  for (const KvOrder order : {KvOrder::kNhd, KvOrder::kHnd}) {
    for (const KvType type : {KvType::kBFloat16, KvType::kFloat32}) {
      KvPoolOptions options{.shape = small_shape(), .poison = true};
      options.shape.order = order;
      options.shape.type = type;
      auto pool = KvPool::create(options);
      ASSERT_TRUE(pool.is_ok());
      std::vector<float> heads(12);
      for (size_t i = 0; i < heads.size(); ++i) heads[i] = static_cast<float>(i) + 0.5F;
      pool->store_token(1, KvTensor::kKey, 3, 1, heads);
      std::vector<uint8_t> expected(pool->memory().size(), 0xff);
      for (uint32_t i = 0; i < 12; ++i) {
        const uint64_t at =
            options.shape.region_offset_bytes(1, KvTensor::kKey) + options.shape.block_bytes() * 3 +
            options.shape.head_offset_bytes(1, i / 4) + (i % 4) * options.shape.element_bytes();
        const uint16_t half = baton_engine::float_to_bfloat16(heads[i]);
        const void* from = type == KvType::kFloat32 ? static_cast<const void*>(&heads[i])
                                                    : static_cast<const void*>(&half);
        std::memcpy(expected.data() + at, from, options.shape.element_bytes());
      }
      EXPECT_TRUE(std::ranges::equal(expected, pool->memory()));
    }
  }
}

TEST(KvPoolTest, LoadHeadGathersOverBlocks) {
  auto pool = KvPool::create({.shape = small_shape(), .poison = true});
  ASSERT_TRUE(pool.is_ok());
  auto taken = pool->allocate(1);
  ASSERT_TRUE(taken.is_ok());
  auto sequence = Sequence::create(*pool, 5);
  ASSERT_TRUE(sequence.is_ok());
  EXPECT_THAT(sequence->blocks(), ElementsAre(1, 2, 3));
  for (uint32_t position = 0; position < 5; ++position) {
    std::vector<float> heads(12);
    for (uint32_t i = 0; i < 12; ++i) heads[i] = static_cast<float>(position * 16 + i);
    sequence->store_token(0, KvTensor::kValue, position, heads);
  }
  std::vector<float> out(5 * 4);
  pool->load_head(0, KvTensor::kValue, sequence->blocks(), 2, 5, out.data());
  for (uint32_t position = 0; position < 5; ++position) {
    for (uint32_t i = 0; i < 4; ++i) {
      EXPECT_EQ(out[position * 4 + i], static_cast<float>(position * 16 + 8 + i));
    }
  }
}

TEST(KvPoolTest, BlocksAreHandedOutOnceAndPoisonedWhenReleased) {
  auto pool = KvPool::create({.shape = small_shape(), .poison = true});
  ASSERT_TRUE(pool.is_ok());
  {
    auto sequence = Sequence::create(*pool, 10);
    ASSERT_TRUE(sequence.is_ok());
    EXPECT_EQ(pool->free_blocks(), 0U);
    const auto more = pool->allocate(1);
    EXPECT_EQ(more.code(), StatusCode::kExhausted);
    EXPECT_THAT(more.status().message(), HasSubstr("1 blocks asked for, 0 of 5 are free"));
    std::fill(pool->memory().begin(), pool->memory().end(), uint8_t{0});
  }
  EXPECT_EQ(pool->free_blocks(), 5U);
  EXPECT_THAT(pool->memory(), Each(0xff));
}

TEST(KvPoolTest, CountsBytesWrittenToFreeBlocks) {
  auto pool = KvPool::create({.shape = small_shape(), .poison = true});
  ASSERT_TRUE(pool.is_ok());
  const auto blocks = pool->allocate(5);
  ASSERT_TRUE(blocks.is_ok());
  EXPECT_EQ(pool->count_written_bytes(*blocks), 0U);
  pool->block(1, KvTensor::kValue, 4)[47] = 0;
  pool->block(0, KvTensor::kKey, 0)[0] = 1;
  EXPECT_EQ(pool->count_written_bytes(*blocks), 2U);
  pool->release(*blocks);
  EXPECT_EQ(pool->count_written_bytes(*blocks), 0U);
}

TEST(KvPoolTest, RefusesWrongShapesAndMemory) {
  KvPoolOptions options{.shape = small_shape()};
  alignas(64) uint8_t memory[128] = {};
  EXPECT_THAT(KvPool::create_in(options, memory).status().message(),
              HasSubstr("has 128 bytes, the shape needs 960"));
  options.shape.num_blocks = 0;
  EXPECT_THAT(KvPool::create(options).status().message(), HasSubstr("num_blocks is 0"));
  options.shape.num_blocks = UINT32_MAX;
  options.shape.head_dim = UINT32_MAX;
  EXPECT_EQ(KvPool::create(options).code(), StatusCode::kInvalidArgument);
  options.shape = small_shape();
  options.shape.num_blocks = 1;
  options.shape.layers = 1;
  options.shape.kv_heads = 1;
  auto in_place = KvPool::create_in(options, memory);
  ASSERT_TRUE(in_place.is_ok()) << in_place.status().message();
  EXPECT_EQ(in_place->block(0, KvTensor::kValue, 0), memory + 16);
  EXPECT_THAT(KvPool::create_in(options, std::span(memory).subspan(1)).status().message(),
              HasSubstr("aligned"));
}

}  // namespace
