// The forward pass of the real model against make_reference.py's numpy pass in float64.
#include <gtest/gtest.h>

#include <cmath>

#include "examples/reference_engine/forward_pass.h"
#include "examples/reference_engine/load_model.h"
#include "examples/reference_engine/sampler.h"
#include "tests/engine/forward_runs.h"
#include "tests/engine/reference_file.h"

namespace {

using baton_engine::ComputePool;
using baton_engine::ForwardHooks;
using baton_engine::ForwardPass;
using baton_engine::KvPool;
using baton_engine::KvType;
using baton_engine::Sequence;

double norm(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return std::sqrt(sum);
}

// Compares each hidden state with the reference's norms and first values, as the pass makes them.
class CompareStates : public ForwardHooks {
 public:
  CompareStates(const nlohmann::json& expected, double tolerance)
      : expected_(expected), tolerance_(tolerance) {}

  // Row 0 of the next pass is this token of the prompt.
  void set_first_token(size_t token) { first_token_ = token; }

  void on_layer_output(uint32_t layer, std::span<const float> rows) override {
    const auto& norms = expected_.at("norms").at(layer);
    const size_t hidden = 576;
    for (size_t row = 0; row < rows.size() / hidden; ++row) {
      const std::span<const float> state = rows.subspan(row * hidden, hidden);
      const size_t token = first_token_ + row;
      const double expected_norm = norms.at(token).get<double>();
      EXPECT_NEAR(norm(state), expected_norm, tolerance_ * expected_norm)
          << "layer " << layer << " token " << token;
      worst_ = std::max(worst_, std::abs(norm(state) - expected_norm) / expected_norm);
      if (token + 1 != norms.size()) continue;
      const auto& values = expected_.at("last_token_first_values").at(layer);
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(state[i], values.at(i).get<double>(), tolerance_ * expected_norm)
            << "layer " << layer << " value " << i;
      }
    }
  }

  double worst() const { return worst_; }

 private:
  const nlohmann::json& expected_;
  const double tolerance_;
  size_t first_token_ = 0;
  double worst_ = 0;
};

class ForwardReferenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!baton_test::has_model_file()) GTEST_SKIP() << baton_test::missing_model();
    if (model != nullptr) return;
    auto loaded = baton_engine::load_model(BATON_MODEL_FILE, compute_);
    ASSERT_TRUE(loaded.is_ok()) << loaded.status().message();
    model = std::move(*loaded);
  }
  static void TearDownTestSuite() { model.reset(); }

  // Tolerances are relative: of a state's norm, and of the largest logit.
  void compare(const char* name, KvType type, double state_tolerance, double logit_tolerance) {
    const auto reference = baton_test::read_reference("forward.json");
    const auto& expected = reference.at(name);
    const auto ids = reference.at("ids").get<std::vector<uint32_t>>();
    baton_engine::KvPoolOptions options;
    options.shape = ForwardPass::kv_shape(model->config());
    options.shape.num_blocks = 4;
    options.shape.type = type;
    auto pool = KvPool::create(options);
    auto sequence = Sequence::create(*pool, 64);
    auto forward = ForwardPass::create(*model, compute_, {});
    CompareStates compare_states(expected, state_tolerance);
    ASSERT_TRUE(
        forward->prefill(*sequence, std::span(ids).first(ids.size() - 1), &compare_states).is_ok());
    compare_states.set_first_token(ids.size() - 1);
    const auto logits = forward->decode(*sequence, ids.back(), &compare_states);
    ASSERT_TRUE(logits.is_ok());
    const auto top_tokens = expected.at("top_tokens").get<std::vector<uint32_t>>();
    const auto top_logits = expected.at("top_logits").get<std::vector<double>>();
    EXPECT_EQ(baton_engine::greedy_token(*logits), top_tokens[0]);
    double worst = 0;
    for (size_t i = 0; i < top_tokens.size(); ++i) {
      const double difference = std::abs(double{(*logits)[top_tokens[i]]} - top_logits[i]);
      worst = std::max(worst, difference / top_logits[0]);
      EXPECT_LE(difference, logit_tolerance * top_logits[0]) << "logit " << top_tokens[i];
    }
    const double expected_norm = expected.at("logits_norm").get<double>();
    EXPECT_NEAR(norm(*logits), expected_norm, logit_tolerance * expected_norm);
    std::cout << name << ": largest relative difference of a norm " << compare_states.worst()
              << ", of a logit " << worst << "\n";
  }

  ComputePool compute_{2};
  // Loaded once for all tests.
  static inline std::unique_ptr<baton_engine::Model> model;
};

TEST_F(ForwardReferenceTest, WithFloat32Kv) { compare("f32", KvType::kFloat32, 1e-4, 1e-4); }

// Values that lie near a border of bf16 rounding fall to either side in float32 and float64.
TEST_F(ForwardReferenceTest, WithBFloat16Kv) { compare("bf16", KvType::kBFloat16, 5e-3, 5e-3); }

// At the real shapes OpenBLAS takes other ways than at the tiny model's.
TEST_F(ForwardReferenceTest, BitsDependOnNeitherThreadsNorBlocks) {
  const auto ids =
      baton_test::read_reference("forward.json").at("ids").get<std::vector<uint32_t>>();
  const auto expected = baton_test::run_prompt(*model, ids, {.new_tokens = 2});
  baton_test::expect_same_bits(
      baton_test::run_prompt(
          *model, ids, {.threads = 3, .block_tokens = 5, .block_shuffle_seed = 7, .new_tokens = 2}),
      expected);
  baton_test::expect_same_bits(baton_test::run_prompt(*model, ids,
                                                      {.threads = 2,
                                                       .block_tokens = 32,
                                                       .order = baton_engine::KvOrder::kHnd,
                                                       .new_tokens = 2}),
                               expected);
}

}  // namespace
