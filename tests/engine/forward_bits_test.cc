// The tiny model's bits: what they must not depend on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "tests/engine/forward_runs.h"
#include "tests/support/test_seed.h"

namespace {

using baton::Status;
using baton_engine::ComputePool;
using baton_engine::ForwardHooks;
using baton_engine::ForwardPass;
using baton_engine::KvOrder;
using baton_engine::KvPool;
using baton_engine::KvPoolOptions;
using baton_engine::KvTensor;
using baton_engine::KvType;
using baton_engine::Model;
using baton_engine::Sequence;
using baton_test::decode_token;
using baton_test::expect_same_bits;
using baton_test::random_tokens;
using baton_test::run_prompt;
using baton_test::RunOptions;
using baton_test::tiny_model;

KvPoolOptions pool_options(const Model& model, uint32_t tokens) {
  KvPoolOptions options;
  options.shape = ForwardPass::kv_shape(model.config());
  options.shape.num_blocks = options.shape.blocks_for(tokens) + 3;
  options.poison = true;
  return options;
}

TEST(ForwardBitsTest, DependOnNeitherThreadsNorBlocks) {
  const uint64_t seed = baton_test::test_seed();
  const auto model = tiny_model(seed);
  // 74 tokens of prefill: chunks of 16 end with one of 10, chunks of 73 with one of a single row.
  const auto prompt = random_tokens(*model, 75, seed + 1);
  for (const KvType type : {KvType::kBFloat16, KvType::kFloat32}) {
    for (const uint32_t chunk_tokens : {1U, 16U, 73U, 256U}) {
      const auto expected =
          run_prompt(*model, prompt, {.chunk_tokens = chunk_tokens, .type = type});
      for (const uint32_t threads : {1U, 2U, 5U}) {
        for (const uint32_t block_tokens : {1U, 5U, 16U, 128U}) {
          for (const KvOrder order : {KvOrder::kNhd, KvOrder::kHnd}) {
            SCOPED_TRACE("chunk " + std::to_string(chunk_tokens) + " threads " +
                         std::to_string(threads) + " block " + std::to_string(block_tokens) +
                         " order " + std::to_string(static_cast<int>(order)));
            expect_same_bits(run_prompt(*model, prompt,
                                        {.threads = threads,
                                         .chunk_tokens = chunk_tokens,
                                         .block_tokens = block_tokens,
                                         .type = type,
                                         .order = order,
                                         .block_shuffle_seed = seed + threads * block_tokens}),
                             expected);
          }
        }
      }
    }
  }
}

// What a hand-off does: KV bytes computed in one pool, decoded from another.
TEST(ForwardBitsTest, SurviveTheCopyIntoOtherPages) {
  const auto model = tiny_model(21);
  const auto prompt = random_tokens(*model, 40, 22);
  const RunOptions how;
  const auto expected = run_prompt(*model, prompt, how);
  ComputePool compute(2);
  const uint32_t capacity = 40 + how.new_tokens;
  auto source = KvPool::create(pool_options(*model, capacity));
  auto target = KvPool::create(pool_options(*model, capacity));
  auto from = Sequence::create(*source, capacity);
  ASSERT_TRUE(target->allocate(2).is_ok());
  auto to = Sequence::create(*target, capacity);
  auto prefill = ForwardPass::create(*model, compute, {.chunk_tokens = how.chunk_tokens});
  ASSERT_TRUE(prefill->prefill(*from, std::span(prompt).first(39), nullptr).is_ok());
  auto decode = ForwardPass::create(*model, compute, {.chunk_tokens = how.chunk_tokens});

  // Copies each layer only when the decode step asks for it: nothing is read earlier.
  class CopyLayer : public ForwardHooks {
   public:
    CopyLayer(const Sequence& source, Sequence& destination)
        : source_(source), destination_(destination) {}
    Status before_layer_attention(uint32_t layer) override {
      for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
        for (size_t i = 0; i < source_.blocks().size(); ++i) {
          std::memcpy(destination_.pool().block(layer, tensor, destination_.blocks()[i]),
                      source_.pool().block(layer, tensor, source_.blocks()[i]),
                      source_.pool().shape().block_bytes());
        }
      }
      return Status::ok();
    }

   private:
    const Sequence& source_;
    Sequence& destination_;
  } copy(*from, *to);

  to->advance(39);
  baton_test::RunResult result;
  for (uint32_t step = 0; step < how.new_tokens; ++step) {
    const auto logits =
        decode->decode(*to, decode_token(prompt, step), step == 0 ? &copy : nullptr);
    ASSERT_TRUE(logits.is_ok()) << logits.status().message();
    result.logits.insert(result.logits.end(), logits->begin(), logits->end());
  }
  result.kv = baton_test::read_kv(*to);
  expect_same_bits(result, expected);
}

TEST(ForwardBitsTest, OfSeveralRequestsAtOnceDoNotMix) {
  const auto model = tiny_model(31);
  ComputePool compute(2);
  std::vector<std::thread> requests;
  for (uint64_t request = 0; request < 3; ++request) {
    requests.emplace_back([&, request] {
      const auto prompt = random_tokens(*model, 30 + request * 7, request);
      const auto expected = run_prompt(*model, prompt, {}).logits;
      for (int round = 0; round < 3; ++round) {
        auto pool = KvPool::create(pool_options(*model, 64));
        auto sequence = Sequence::create(*pool, 64);
        auto forward = ForwardPass::create(*model, compute, {.chunk_tokens = 16});
        ASSERT_TRUE(forward->prefill(*sequence, std::span(prompt).first(prompt.size() - 1), nullptr)
                        .is_ok());
        const auto logits = forward->decode(*sequence, prompt.back(), nullptr);
        ASSERT_TRUE(logits.is_ok());
        ASSERT_TRUE(baton_test::same_bits(*logits, std::span(expected).first(logits->size())));
      }
    });
  }
  for (std::thread& request : requests) request.join();
}

}  // namespace
