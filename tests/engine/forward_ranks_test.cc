// Three ranks that compute a part each: the KV, states and logits of one process alone, bit by bit.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>

#include "examples/reference_engine/load_model.h"
#include "tests/engine/forward_runs.h"
#include "tests/engine/thread_ranks.h"
#include "tests/support/test_seed.h"

namespace {

using baton_engine::ComputePool;
using baton_engine::ForwardPass;
using baton_engine::IndexRange;
using baton_engine::kTensorParts;
using baton_engine::KvPool;
using baton_engine::KvPoolOptions;
using baton_engine::KvTensor;
using baton_engine::Model;
using baton_engine::ModelConfig;
using baton_engine::Sequence;
using baton_engine::TinyShape;
using baton_test::decode_token;
using baton_test::random_tokens;
using baton_test::run_prompt;
using baton_test::RunOptions;
using baton_test::RunResult;

struct RankResult {
  RunResult run;
  uint64_t meetings = 0;
};

// One rank's part of a run.
RankResult run_rank(const Model& model, uint32_t rank, baton_test::ThreadSums& shared,
                    std::span<const uint32_t> prompt, const RunOptions& how) {
  const IndexRange parts = baton_engine::parts_of_rank(rank, kTensorParts);
  ComputePool compute(how.threads);
  const auto capacity = static_cast<uint32_t>(prompt.size()) + how.new_tokens;
  KvPoolOptions options;
  options.shape = ForwardPass::kv_shape(model.config(), parts);
  options.shape.block_tokens = how.block_tokens;
  options.shape.num_blocks = options.shape.blocks_for(capacity);
  options.shape.type = how.type;
  options.poison = true;
  auto pool = KvPool::create(options);
  auto sequence = Sequence::create(*pool, capacity);
  baton_test::ThreadSums::Rank sums(shared);
  auto forward = ForwardPass::create(
      model, compute, {.chunk_tokens = how.chunk_tokens, .parts = parts, .sums = &sums});
  RankResult out;
  EXPECT_TRUE(forward->prefill(*sequence, prompt.first(prompt.size() - 1), nullptr).is_ok());
  for (uint32_t step = 0; step < how.new_tokens; ++step) {
    const auto logits = forward->decode(*sequence, decode_token(prompt, step), nullptr);
    EXPECT_TRUE(logits.is_ok());
    out.run.logits.insert(out.run.logits.end(), logits->begin(), logits->end());
  }
  out.run.kv = baton_test::read_kv(*sequence);
  out.meetings = sums.meetings();
  return out;
}

// The same KV, of these heads alone.
std::vector<float> kv_of_heads(const ModelConfig& config, const std::vector<float>& kv,
                               const IndexRange& heads) {
  const size_t head_floats = kv.size() / (size_t{config.layers} * 2 * config.kv_heads);
  std::vector<float> out;
  for (size_t tensor = 0; tensor < size_t{config.layers} * 2; ++tensor) {
    const auto first =
        kv.begin() + static_cast<ptrdiff_t>((tensor * config.kv_heads + heads.first) * head_floats);
    out.insert(out.end(), first, first + static_cast<ptrdiff_t>(heads.count * head_floats));
  }
  return out;
}

// `models[r]` is what rank r holds; `whole` all of it.
void expect_ranks_give_the_same(const Model& whole,
                                const std::array<std::unique_ptr<Model>, kTensorParts>& models,
                                std::span<const uint32_t> prompt, const RunOptions& how) {
  const RunResult expected = run_prompt(whole, prompt, how);
  baton_test::ThreadSums sums(size_t{how.chunk_tokens} * whole.config().hidden);
  std::array<RankResult, kTensorParts> results;
  std::vector<std::thread> ranks;
  for (uint32_t rank = 0; rank < kTensorParts; ++rank) {
    ranks.emplace_back(
        [&, rank] { results[rank] = run_rank(*models[rank], rank, sums, prompt, how); });
  }
  for (std::thread& rank : ranks) rank.join();
  const uint64_t chunks = (prompt.size() - 1 + how.chunk_tokens - 1) / how.chunk_tokens;
  const uint64_t layers = whole.config().layers;
  for (uint32_t rank = 0; rank < kTensorParts; ++rank) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    EXPECT_TRUE(baton_test::same_bits(results[rank].run.logits, expected.logits));
    const IndexRange heads =
        baton_engine::kv_heads_of(whole.config(), baton_engine::parts_of_rank(rank, kTensorParts));
    EXPECT_TRUE(baton_test::same_bits(results[rank].run.kv,
                                      kv_of_heads(whole.config(), expected.kv, heads)));
    EXPECT_EQ(results[rank].meetings, chunks * 2 * (layers - 1) + how.new_tokens * 2 * layers);
  }
}

TEST(ForwardRanks, GiveTheBitsOfOneProcessAlone) {
  const uint64_t seed = baton_test::test_seed();
  // Heads that divide by three, that do not, and fewer KV heads than ranks; columns that do not.
  for (const TinyShape& shape : {TinyShape{4, 2, 128}, TinyShape{6, 3, 128}, TinyShape{6, 6, 96},
                                 TinyShape{8, 4, 100}, TinyShape{6, 2, 97}, TinyShape{5, 1, 128}}) {
    const auto whole = baton_engine::make_tiny_model(seed, shape);
    ASSERT_TRUE(whole.is_ok());
    std::array<std::unique_ptr<Model>, kTensorParts> models;
    for (uint32_t rank = 0; rank < kTensorParts; ++rank) {
      auto part = baton_engine::make_tiny_model(seed, shape,
                                                baton_engine::parts_of_rank(rank, kTensorParts));
      ASSERT_TRUE(part.is_ok());
      models[rank] = std::move(*part);
    }
    const auto prompt = random_tokens(**whole, 75, seed + 1);
    for (const uint32_t chunk_tokens : {1U, 16U, 73U, 256U}) {
      SCOPED_TRACE(std::to_string(shape.heads) + " heads, " + std::to_string(shape.kv_heads) +
                   " KV heads, chunks of " + std::to_string(chunk_tokens));
      expect_ranks_give_the_same(**whole, models, prompt, {.chunk_tokens = chunk_tokens});
    }
  }
}

// At the real shapes OpenBLAS takes other ways than at the tiny model's.
TEST(ForwardRanks, GiveTheBitsOfOneProcessAloneWithTheRealModel) {
  if (!std::filesystem::exists(BATON_MODEL_FILE)) {
    GTEST_SKIP() << "NOT TESTED with the real model: " << BATON_MODEL_FILE
                 << " is missing. Type: examples/reference_engine/fetch_model";
  }
  ComputePool compute(2);
  const auto whole = baton_engine::load_model(BATON_MODEL_FILE, compute);
  ASSERT_TRUE(whole.is_ok()) << whole.status().message();
  std::array<std::unique_ptr<Model>, kTensorParts> models;
  for (uint32_t rank = 0; rank < kTensorParts; ++rank) {
    auto part = baton_engine::load_model(BATON_MODEL_FILE, compute, nullptr,
                                         baton_engine::parts_of_rank(rank, kTensorParts));
    ASSERT_TRUE(part.is_ok()) << part.status().message();
    models[rank] = std::move(*part);
  }
  const auto prompt = random_tokens(**whole, 70, 5);
  expect_ranks_give_the_same(**whole, models, prompt, {.chunk_tokens = 64, .new_tokens = 2});
}

// A shape without copies, cut into ranks, holds each weight once.
TEST(ForwardRanks, HoldTheirOwnPartAlone) {
  const TinyShape shape{6, 3, 96};
  for (uint32_t rank = 0; rank < kTensorParts; ++rank) {
    const auto part = baton_engine::make_tiny_model(1, shape, {rank, 1});
    ASSERT_TRUE(part.is_ok());
    for (uint32_t index = 0; index < kTensorParts; ++index) {
      const auto& weights = (*part)->layer(0).parts[index];
      EXPECT_EQ(weights.query.outputs, index == rank ? 32U : 0U);
      EXPECT_EQ(weights.down.inputs, index == rank ? 32U : 0U);
    }
  }
}

}  // namespace
