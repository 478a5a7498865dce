// The forward pass on the tiny model: against the naive one, and against itself to the bit.
#include "examples/reference_engine/forward_pass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "examples/reference_engine/number_formats.h"
#include "examples/reference_engine/prompt.h"
#include "examples/reference_engine/tiny_model.h"
#include "tests/engine/naive_forward.h"
#include "tests/support/test_seed.h"

namespace {

using baton::Status;
using baton::StatusCode;
using baton_engine::Chunk;
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
using ::testing::HasSubstr;

constexpr uint32_t kNewTokens = 4;

std::unique_ptr<Model> tiny_model(uint64_t seed) {
  auto model = baton_engine::make_tiny_model(seed);
  EXPECT_TRUE(model.is_ok()) << model.status().message();
  return std::move(*model);
}

std::vector<uint32_t> random_tokens(const Model& model, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> tokens(count);
  for (uint32_t& token : tokens) {
    token = static_cast<uint32_t>(random() % model.config().vocabulary);
  }
  return tokens;
}

KvPoolOptions pool_options(const Model& model, uint32_t tokens) {
  KvPoolOptions options;
  options.shape = ForwardPass::kv_shape(model.config());
  options.shape.num_blocks = options.shape.blocks_for(tokens) + 3;
  options.poison = true;
  return options;
}

struct PassOptions {
  uint32_t threads = 1;
  uint32_t chunk_tokens = 16;
  uint32_t block_tokens = 16;
  KvType type = KvType::kBFloat16;
  KvOrder order = KvOrder::kNhd;
  uint32_t skip_blocks = 0;  // taken before, so that the sequence gets others
};

// The logits of every decode step: of the prompt's last token, then of the same tokens again.
std::vector<float> run(const Model& model, std::span<const uint32_t> prompt,
                       const PassOptions& how) {
  ComputePool compute(how.threads);
  const auto capacity = static_cast<uint32_t>(prompt.size()) + kNewTokens;
  KvPoolOptions options = pool_options(model, capacity);
  options.shape.block_tokens = how.block_tokens;
  options.shape.num_blocks = options.shape.blocks_for(capacity) + how.skip_blocks;
  options.shape.type = how.type;
  options.shape.order = how.order;
  auto pool = KvPool::create(options);
  EXPECT_TRUE(pool->allocate(how.skip_blocks).is_ok());
  auto sequence = Sequence::create(*pool, capacity);
  auto forward = ForwardPass::create(model, compute, {.chunk_tokens = how.chunk_tokens});
  EXPECT_TRUE(forward->prefill(*sequence, prompt.first(prompt.size() - 1), nullptr).is_ok());
  std::vector<float> all;
  for (uint32_t step = 0; step < kNewTokens; ++step) {
    const uint32_t token = step == 0 ? prompt.back() : prompt[step % prompt.size()];
    const auto logits = forward->decode(*sequence, token, nullptr);
    EXPECT_TRUE(logits.is_ok()) << logits.status().message();
    all.insert(all.end(), logits->begin(), logits->end());
  }
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Stated tolerance against the naive pass in double: 2e-4 of the largest logit with f32 KV. With
// bf16 KV a value near a rounding border falls to either side, one part in 256 off: 1e-2.
TEST(ForwardPassTest, AgreesWithTheNaivePass) {
  const uint64_t seed = baton_test::test_seed();
  const auto model = tiny_model(seed);
  for (const uint32_t length : {1U, 2U, 16U, 17U, 61U}) {
    const auto prompt = random_tokens(*model, length, seed + length);
    for (const KvType type : {KvType::kFloat32, KvType::kBFloat16}) {
      baton_test::NaiveForward naive(*model, [type](double value) {
        if (type == KvType::kFloat32) return value;
        return double{baton_engine::bfloat16_to_float(
            baton_engine::float_to_bfloat16(static_cast<float>(value)))};
      });
      const auto logits = run(*model, prompt, {.threads = 2, .type = type});
      std::vector<uint32_t> tokens(prompt);
      for (uint32_t step = 0; step < kNewTokens; ++step) {
        if (step > 0) tokens.push_back(prompt[step % length]);
        const auto expected = naive.logits(tokens);
        double largest = 0;
        for (const double value : expected) largest = std::max(largest, std::abs(value));
        const double tolerance = (type == KvType::kFloat32 ? 2e-4 : 1e-2) * largest;
        for (size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(logits[step * expected.size() + i], expected[i], tolerance)
              << "length " << length << " step " << step << " logit " << i;
        }
      }
    }
  }
}

TEST(ForwardPassTest, BitsDependOnNeitherThreadsNorPages) {
  const auto model = tiny_model(11);
  const auto prompt = random_tokens(*model, 75, 12);
  for (const KvType type : {KvType::kBFloat16, KvType::kFloat32}) {
    const auto expected = run(*model, prompt, {.type = type});
    const PassOptions others[] = {
        {.threads = 2, .type = type},
        {.threads = 4, .block_tokens = 5, .type = type, .skip_blocks = 3},
        {.block_tokens = 32, .type = type, .order = KvOrder::kHnd, .skip_blocks = 1},
    };
    for (const PassOptions& other : others)
      EXPECT_TRUE(same_bits(run(*model, prompt, other), expected));
  }
}

// What a hand-off does: KV bytes computed in one pool, decoded from another.
TEST(ForwardPassTest, DecodesFromCopiedPagesToTheBit) {
  const auto model = tiny_model(21);
  const auto prompt = random_tokens(*model, 40, 22);
  const auto expected = run(*model, prompt, {});
  ComputePool compute(2);
  const uint32_t capacity = 40 + kNewTokens;
  auto source = KvPool::create(pool_options(*model, capacity));
  auto target = KvPool::create(pool_options(*model, capacity));
  auto from = Sequence::create(*source, capacity);
  ASSERT_TRUE(target->allocate(2).is_ok());
  auto to = Sequence::create(*target, capacity);
  auto prefill = ForwardPass::create(*model, compute, {.chunk_tokens = 16});
  ASSERT_TRUE(prefill->prefill(*from, std::span(prompt).first(39), nullptr).is_ok());
  auto decode = ForwardPass::create(*model, compute, {.chunk_tokens = 16});

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
  std::vector<float> all;
  for (uint32_t step = 0; step < kNewTokens; ++step) {
    const auto logits =
        decode->decode(*to, step == 0 ? prompt.back() : prompt[step], step == 0 ? &copy : nullptr);
    ASSERT_TRUE(logits.is_ok());
    all.insert(all.end(), logits->begin(), logits->end());
  }
  EXPECT_TRUE(same_bits(all, expected));
}

TEST(ForwardPassTest, SeveralRequestsAtOnceKeepTheirBits) {
  const auto model = tiny_model(31);
  ComputePool compute(2);
  std::vector<std::thread> requests;
  for (uint64_t request = 0; request < 3; ++request) {
    requests.emplace_back([&, request] {
      const auto prompt = random_tokens(*model, 30 + request * 7, request);
      const auto expected = run(*model, prompt, {});
      for (int round = 0; round < 3; ++round) {
        auto pool = KvPool::create(pool_options(*model, 64));
        auto sequence = Sequence::create(*pool, 64);
        auto forward = ForwardPass::create(*model, compute, {.chunk_tokens = 16});
        ASSERT_TRUE(forward->prefill(*sequence, std::span(prompt).first(prompt.size() - 1), nullptr)
                        .is_ok());
        const auto logits = forward->decode(*sequence, prompt.back(), nullptr);
        ASSERT_TRUE(std::ranges::equal(*logits, std::span(expected).first(logits->size())));
      }
    });
  }
  for (std::thread& request : requests) request.join();
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

TEST(PromptTest, ChecksEverythingBeforeTheModelRuns) {
  const auto model = tiny_model(51);
  EXPECT_EQ(baton_engine::encode_prompt(*model, "hi", {})->size(), 2U);
  EXPECT_GT(baton_engine::encode_prompt(*model, "hi", {.chat = true})->size(), 40U);
  const auto message = [&](std::string_view prompt, const baton_engine::PromptOptions& options) {
    return baton_engine::encode_prompt(*model, prompt, options).status().message();
  };
  EXPECT_EQ(message("", {}), "the prompt is empty");
  EXPECT_EQ(message("", {.chat = true}), "the prompt is empty");
  EXPECT_THAT(message("a\xFF", {}), HasSubstr("not UTF-8: byte 0xff at offset 1"));
  EXPECT_THAT(message("a\xFF", {.chat = true}), HasSubstr("byte at offset 1"));
  EXPECT_THAT(
      message(std::string(2040, 'x'), {.max_new_tokens = 9}),
      HasSubstr("has 2040 tokens and 9 new ones are asked for; the model's context holds 2048"));
}

}  // namespace
