// The forward pass on the tiny model: against the naive one, its hooks, and what it refuses.
#include "examples/reference_engine/forward_pass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "examples/reference_engine/number_formats.h"
#include "tests/engine/forward_runs.h"
#include "tests/engine/naive_forward.h"
#include "tests/support/test_seed.h"

namespace {

using baton::Status;
using baton::StatusCode;
using baton_engine::Chunk;
using baton_engine::ComputePool;
using baton_engine::ForwardHooks;
using baton_engine::ForwardPass;
using baton_engine::KvPool;
using baton_engine::KvPoolOptions;
using baton_engine::KvType;
using baton_engine::Model;
using baton_engine::Sequence;
using baton_test::decode_token;
using baton_test::random_tokens;
using baton_test::run_prompt;
using baton_test::tiny_model;
using ::testing::HasSubstr;

KvPoolOptions pool_options(const Model& model, uint32_t tokens) {
  KvPoolOptions options;
  options.shape = ForwardPass::kv_shape(model.config());
  options.shape.num_blocks = options.shape.blocks_for(tokens);
  options.poison = true;
  return options;
}

// Stated tolerance against the naive pass in double, as a part of the largest logit: 5e-5 with f32
// KV. With bf16 KV a value near a rounding border falls to either side, one part in 256 off: 5e-3.
double tolerance(KvType type) { return type == KvType::kFloat32 ? 5e-5 : 5e-3; }

double keep_as(KvType type, double value) {
  if (type == KvType::kFloat32) return value;
  return double{
      baton_engine::bfloat16_to_float(baton_engine::float_to_bfloat16(static_cast<float>(value)))};
}

// The logits that the naive pass gives after each of `steps` decode steps.
std::vector<double> naive_logits(const Model& model, std::span<const uint32_t> prompt,
                                 uint32_t steps, KvType type) {
  baton_test::NaiveForward naive(model, [type](double value) { return keep_as(type, value); });
  std::vector<uint32_t> tokens(prompt.begin(), prompt.end());
  std::vector<double> all;
  for (uint32_t step = 0; step < steps; ++step) {
    if (step > 0) tokens.push_back(decode_token(prompt, step));
    const auto logits = naive.logits(tokens);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

void expect_near(std::span<const float> logits, std::span<const double> expected, KvType type) {
  ASSERT_EQ(logits.size(), expected.size());
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(double{logits[i]}, expected[i], tolerance(type) * largest) << "logit " << i;
  }
}

TEST(ForwardPassTest, AgreesWithTheNaivePass) {
  const uint64_t seed = baton_test::test_seed();
  const auto model = tiny_model(seed);
  for (const uint32_t length : {1U, 2U, 16U, 17U, 41U}) {
    const auto prompt = random_tokens(*model, length, seed + length);
    for (const KvType type : {KvType::kFloat32, KvType::kBFloat16}) {
      const auto expected = naive_logits(*model, prompt, 3, type);
      for (const uint32_t chunk_tokens : {1U, 7U, 16U, 64U}) {
        SCOPED_TRACE("length " + std::to_string(length) + " chunk " + std::to_string(chunk_tokens));
        const auto result =
            run_prompt(*model, prompt,
                       {.threads = 2, .chunk_tokens = chunk_tokens, .type = type, .new_tokens = 3});
        expect_near(result.logits, expected, type);
      }
    }
  }
}

// More rows than attention takes at a time (64), in one chunk and behind another.
TEST(ForwardPassTest, AgreesWithTheNaivePassOnLongChunks) {
  const uint64_t seed = baton_test::test_seed();
  const auto model = tiny_model(seed);
  const auto prompt = random_tokens(*model, 160, seed);
  const auto expected = naive_logits(*model, prompt, 1, KvType::kFloat32);
  for (const uint32_t chunk_tokens : {65U, 128U, 256U}) {
    SCOPED_TRACE("chunk " + std::to_string(chunk_tokens));
    const auto result = run_prompt(
        *model, prompt,
        {.threads = 2, .chunk_tokens = chunk_tokens, .type = KvType::kFloat32, .new_tokens = 1});
    expect_near(result.logits, expected, KvType::kFloat32);
  }
}

class RecordHooks : public ForwardHooks {
 public:
  Status on_layer_kv_final(const Chunk& chunk, uint32_t layer) override {
    events.push_back({chunk.index, chunk.begin_token, chunk.end_token, chunk.is_last, layer});
    return events.size() == fail_at ? Status(StatusCode::kPeerLost, "gone") : Status::ok();
  }
  Status before_layer_attention(uint32_t layer) override {
    gates.push_back(layer);
    return layer == 2 && fail_gate ? Status(StatusCode::kPeerLost, "gone") : Status::ok();
  }

  std::vector<std::vector<uint32_t>> events;
  std::vector<uint32_t> gates;
  size_t fail_at = 0;
  bool fail_gate = false;
};

class ForwardHooksTest : public ::testing::Test {
 protected:
  std::unique_ptr<Model> model_ = tiny_model(41);
  ComputePool compute_{1};
  baton::Result<KvPool> pool_ = KvPool::create(pool_options(*model_, 64));
  baton::Result<Sequence> sequence_ = Sequence::create(*pool_, 24);
  baton::Result<ForwardPass> forward_ = ForwardPass::create(*model_, compute_, {.chunk_tokens = 8});
  const std::vector<uint32_t> prompt_ = random_tokens(*model_, 20, 42);
  RecordHooks hooks_;
};

TEST_F(ForwardHooksTest, NamesEveryLayerOfEveryChunkInOrder) {
  ASSERT_TRUE(forward_->prefill(*sequence_, prompt_, &hooks_).is_ok());
  std::vector<std::vector<uint32_t>> expected;
  for (uint32_t chunk = 0; chunk < 3; ++chunk) {
    for (uint32_t layer = 0; layer < 4; ++layer) {
      expected.push_back({chunk, chunk * 8, std::min(20U, chunk * 8 + 8), chunk == 2, layer});
    }
  }
  EXPECT_EQ(hooks_.events, expected);
  ASSERT_TRUE(forward_->decode(*sequence_, 1, &hooks_).is_ok());
  EXPECT_THAT(hooks_.gates, ::testing::ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(hooks_.events.size(), 12U);
}

TEST_F(ForwardHooksTest, AnErrorOfAHookEndsThePass) {
  hooks_.fail_at = 6;
  EXPECT_EQ(forward_->prefill(*sequence_, prompt_, &hooks_).code(), StatusCode::kPeerLost);
  EXPECT_EQ(sequence_->length_tokens(), 8U);
  EXPECT_EQ(hooks_.events.size(), 6U);
  hooks_.fail_gate = true;
  EXPECT_EQ(forward_->decode(*sequence_, 1, &hooks_).code(), StatusCode::kPeerLost);
  EXPECT_EQ(sequence_->length_tokens(), 8U);
}

TEST_F(ForwardHooksTest, RefusesWhatDoesNotFit) {
  const std::vector<uint32_t> long_prompt(25, 0);
  EXPECT_THAT(forward_->prefill(*sequence_, long_prompt, nullptr).message(),
              HasSubstr("token 25 lies past the sequence's capacity of 24"));
  const std::vector<uint32_t> past_context(2049, 0);
  EXPECT_THAT(forward_->prefill(*sequence_, past_context, nullptr).message(),
              HasSubstr("token 2049 lies past the model's context of 2048"));
  EXPECT_THAT(forward_->decode(*sequence_, 259, nullptr).status().message(),
              HasSubstr("token 259 at index 0 is outside the vocabulary of 259"));
  EXPECT_TRUE(forward_->prefill(*sequence_, {}, nullptr).is_ok());
  EXPECT_EQ(ForwardPass::create(*model_, compute_, {.chunk_tokens = 0}).code(),
            StatusCode::kInvalidArgument);
  KvPoolOptions other = pool_options(*model_, 64);
  other.shape.layers = 3;
  auto other_pool = KvPool::create(other);
  auto other_sequence = Sequence::create(*other_pool, 4);
  EXPECT_THAT(forward_->decode(*other_sequence, 1, nullptr).status().message(),
              HasSubstr("another shape"));
}

}  // namespace
