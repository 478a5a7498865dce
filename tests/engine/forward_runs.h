// One prompt through a model in a given setting, and all that must not depend on the setting.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "examples/reference_engine/forward_pass.h"
#include "examples/reference_engine/tiny_model.h"

namespace baton_test {

struct RunOptions {
  uint32_t threads = 1;
  uint32_t chunk_tokens = 16;
  uint32_t block_tokens = 16;
  baton_engine::KvType type = baton_engine::KvType::kBFloat16;
  baton_engine::KvOrder order = baton_engine::KvOrder::kNhd;
  // 0: the sequence gets blocks 0, 1, ... Otherwise any of twice as many, in any order.
  uint64_t block_shuffle_seed = 0;
  uint32_t new_tokens = 4;
};

struct RunResult {
  // Of every decode step: after the whole prompt, then after each token appended.
  std::vector<float> logits;
  // K and V as they are read back, by layer and head, of every position.
  std::vector<float> kv;
};

inline std::unique_ptr<baton_engine::Model> tiny_model(uint64_t seed) {
  auto model = baton_engine::make_tiny_model(seed);
  EXPECT_TRUE(model.is_ok()) << model.status().message();
  return std::move(*model);
}

inline std::vector<uint32_t> random_tokens(const baton_engine::Model& model, size_t count,
                                           uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> tokens(count);
  for (uint32_t& token : tokens) {
    token = static_cast<uint32_t>(random() % model.config().vocabulary);
  }
  return tokens;
}

// The token that decode step `step` appends: the prompt's last, then its others once more.
inline uint32_t decode_token(std::span<const uint32_t> prompt, uint32_t step) {
  return step == 0 ? prompt.back() : prompt[step % prompt.size()];
}

// So that the next sequence gets `pool`'s blocks in an order of its own.
inline void shuffle_free_blocks(baton_engine::KvPool& pool, uint64_t seed) {
  auto blocks = pool.allocate(pool.free_blocks());
  ASSERT_TRUE(blocks.is_ok());
  std::mt19937_64 random(seed);
  std::shuffle(blocks->begin(), blocks->end(), random);
  pool.release(*blocks);
}

inline std::vector<float> read_kv(const baton_engine::Sequence& sequence) {
  const baton_engine::KvPool& pool = sequence.pool();
  const baton_engine::KvShape& shape = pool.shape();
  const uint32_t tokens = sequence.length_tokens();
  std::vector<float> kv;
  std::vector<float> head_values(size_t{tokens} * shape.head_dim);
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (const auto tensor : {baton_engine::KvTensor::kKey, baton_engine::KvTensor::kValue}) {
      for (uint32_t head = 0; head < shape.kv_heads; ++head) {
        pool.load_head(layer, tensor, sequence.blocks(), head, tokens, head_values.data());
        kv.insert(kv.end(), head_values.begin(), head_values.end());
      }
    }
  }
  return kv;
}

// REQUIRES: prompt is not empty. Empty, after a failure of the test, when a step fails.
inline RunResult run_prompt(const baton_engine::Model& model, std::span<const uint32_t> prompt,
                            const RunOptions& how) {
  baton_engine::ComputePool compute(how.threads);
  const auto capacity = static_cast<uint32_t>(prompt.size()) + how.new_tokens;
  baton_engine::KvPoolOptions options;
  options.shape = baton_engine::ForwardPass::kv_shape(model.config());
  options.shape.block_tokens = how.block_tokens;
  options.shape.num_blocks = options.shape.blocks_for(capacity) * 2;
  options.shape.type = how.type;
  options.shape.order = how.order;
  options.poison = true;
  auto pool = baton_engine::KvPool::create(options);
  EXPECT_TRUE(pool.is_ok()) << pool.status().message();
  if (how.block_shuffle_seed != 0) shuffle_free_blocks(*pool, how.block_shuffle_seed);
  auto sequence = baton_engine::Sequence::create(*pool, capacity);
  auto forward =
      baton_engine::ForwardPass::create(model, compute, {.chunk_tokens = how.chunk_tokens});
  const auto prefilled = forward->prefill(*sequence, prompt.first(prompt.size() - 1), nullptr);
  EXPECT_TRUE(prefilled.is_ok()) << prefilled.message();
  RunResult result;
  for (uint32_t step = 0; step < how.new_tokens; ++step) {
    const auto logits = forward->decode(*sequence, decode_token(prompt, step), nullptr);
    if (!logits.is_ok()) {
      ADD_FAILURE() << logits.status().message();
      return {};
    }
    result.logits.insert(result.logits.end(), logits->begin(), logits->end());
  }
  result.kv = read_kv(*sequence);
  return result;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return !a.empty() && a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline void expect_same_bits(const RunResult& a, const RunResult& b) {
  EXPECT_TRUE(same_bits(a.logits, b.logits));
  EXPECT_TRUE(same_bits(a.kv, b.kv));
}

}  // namespace baton_test
