// The comparison must be able to find what it looks for.
#include "examples/reference_engine/engine_compare.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "tests/support/test_seed.h"

namespace {

using namespace baton_engine;

KvPool make_pool(uint32_t block_tokens, bool poison) {
  KvPoolOptions options;
  options.shape.layers = 2;
  options.shape.kv_heads = 2;
  options.shape.head_dim = 4;
  options.shape.num_blocks = 16;
  options.shape.block_tokens = block_tokens;
  options.poison = poison;
  return std::move(KvPool::create(options)).value();
}

// Two pools with different blocks that hold the same random KV of 13 tokens.
class CompareKv : public testing::Test {
 protected:
  CompareKv() : pool_a_(make_pool(4, false)), pool_b_(make_pool(3, true)) {
    a_ = std::make_unique<Sequence>(std::move(Sequence::create(pool_a_, 20)).value());
    b_ = std::make_unique<Sequence>(std::move(Sequence::create(pool_b_, 20)).value());
    std::mt19937 random(static_cast<uint32_t>(baton_test::test_seed()));
    std::uniform_real_distribution<float> values(-4.0F, 4.0F);
    for (uint32_t layer = 0; layer < 2; ++layer) {
      for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
        for (uint32_t token = 0; token < kTokens; ++token) {
          std::vector<float> heads(8);
          for (float& value : heads) value = values(random);
          a_->store_token(layer, tensor, token, heads);
          b_->store_token(layer, tensor, token, heads);
        }
      }
    }
    a_->advance(kTokens);
    b_->advance(kTokens);
  }

  static constexpr uint32_t kTokens = 13;
  KvPool pool_a_;
  KvPool pool_b_;
  std::unique_ptr<Sequence> a_;
  std::unique_ptr<Sequence> b_;
};

TEST_F(CompareKv, EqualAcrossBlockSizes) {
  const Difference found = compare_kv(*a_, *b_, 0xff);
  EXPECT_EQ(found.different, 0U);
  // 21 tokens in 7 blocks of 3, of 2 layers, 2 tensors, 2 heads of 8 bytes.
  EXPECT_EQ(found.compared, 21U * 2 * 2 * 2 * 8);
}

TEST_F(CompareKv, FindsEverySingleByte) {
  const KvShape& shape = pool_b_.shape();
  for (const uint32_t block : b_->blocks()) {
    for (uint32_t layer = 0; layer < shape.layers; ++layer) {
      for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
        uint8_t* bytes = pool_b_.block(layer, tensor, block);
        for (uint64_t i = 0; i < shape.block_bytes(); ++i) {
          bytes[i] ^= 1;
          EXPECT_EQ(compare_kv(*a_, *b_, 0xff).different, 1U)
              << "block " << block << " layer " << layer << " byte " << i;
          bytes[i] ^= 1;
        }
      }
    }
  }
}

// A rank's KV beside the same heads of all.
TEST_F(CompareKv, FindsEverySingleByteOfARanksHead) {
  KvPoolOptions options;
  options.shape = pool_b_.shape();
  options.shape.kv_heads = 1;
  options.shape.block_tokens = 5;
  options.shape.order = KvOrder::kHnd;
  options.poison = true;
  for (uint32_t head = 0; head < 2; ++head) {
    KvPool pool = std::move(KvPool::create(options)).value();
    Sequence rank = std::move(Sequence::create(pool, 20)).value();
    for (uint32_t layer = 0; layer < 2; ++layer) {
      for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
        std::vector<float> values(kTokens * 4);
        pool_a_.load_head(layer, tensor, a_->blocks(), head, kTokens, values.data());
        for (uint32_t token = 0; token < kTokens; ++token) {
          rank.store_token(layer, tensor, token, std::span(values).subspan(token * 4, 4));
        }
      }
    }
    rank.advance(kTokens);
    const auto image = decode_kv_image(encode(kv_image(rank)));
    ASSERT_TRUE(image.is_ok());
    EXPECT_EQ(compare_kv(*a_, *image, head, 0xff).different, 0U);
    EXPECT_EQ(compare_kv(*a_, *image, head, 0xff).compared, 20U * 2 * 2 * 8);
    EXPECT_GT(compare_kv(*a_, *image, 1 - head, 0xff).different, 0U);
    KvImage changed = *image;
    for (uint8_t& byte : changed.bytes) {
      byte ^= 1;
      EXPECT_EQ(compare_kv(*a_, changed, head, 0xff).different, 1U);
      byte ^= 1;
    }
  }
}

TEST(CompareLogits, BitsDecide) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> a = {0.0F, 1.0F, nan, -2.0F};
  std::vector<float> b = a;
  EXPECT_EQ(compare_logits(a, b).different, 0U);
  EXPECT_EQ(compare_logits(a, b).compared, 4U);
  b[0] = -0.0F;
  EXPECT_EQ(compare_logits(a, b).different, 1U);
  b.push_back(3.0F);
  EXPECT_EQ(compare_logits(a, b).different, 2U);
  EXPECT_EQ(compare_logits(a, b).compared, 5U);
  EXPECT_EQ(compare_logits(b, a).different, 2U);
}

}  // namespace
