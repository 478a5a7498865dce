#include "examples/reference_engine/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace {

using baton::Status;
using baton::StatusCode;
using baton_engine::ModelConfig;
using ::testing::HasSubstr;

// SmolLM2-135M.
ModelConfig good_config() {
  ModelConfig config;
  config.name = "model.gguf";
  config.layers = 30;
  config.hidden = 576;
  config.feed_forward = 1536;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.vocabulary = 49152;
  config.context_tokens = 8192;
  config.rope_base = 100000.0F;
  return config;
}

TEST(ModelConfigTest, CountsTheWeights) {
  EXPECT_TRUE(good_config().validate().is_ok()) << good_config().validate().message();
  EXPECT_EQ(good_config().weight_floats(true), 134515008U);  // "135M"
  EXPECT_EQ(good_config().weight_floats(false), 134515008U + 49152U * 576U);
}

TEST(ModelConfigTest, NamesTheWrongField) {
  const struct {
    std::function<void(ModelConfig&)> spoil;
    const char* expected;
  } cases[] = {
      {[](ModelConfig& c) { c.layers = 0; }, "layers is 0; expected 1 to 1024"},
      {[](ModelConfig& c) { c.layers = 1025; }, "layers is 1025"},
      {[](ModelConfig& c) { c.hidden = 0; }, "hidden size is 0"},
      {[](ModelConfig& c) { c.feed_forward = UINT32_MAX; }, "feed-forward size is 4294967295"},
      {[](ModelConfig& c) { c.heads = 10; }, "10 heads are no multiple of 3 KV heads"},
      {[](ModelConfig& c) { c.kv_heads = 0; }, "KV heads is 0"},
      {[](ModelConfig& c) { c.head_dim = 63; }, "head size 63 is odd"},
      {[](ModelConfig& c) { c.vocabulary = 0; }, "vocabulary size is 0"},
      {[](ModelConfig& c) { c.context_tokens = 0; }, "context length is 0"},
      {[](ModelConfig& c) { c.context_tokens = 1 << 22, c.head_dim = 128; },
       "context length 4194304 and head size 128; expected a product of at most 268435456"},
      {[](ModelConfig& c) { c.rope_base = 1.0F; }, "rope base 1.0"},
      {[](ModelConfig& c) { c.norm_epsilon = std::numeric_limits<float>::quiet_NaN(); },
       "RMSNorm epsilon nan"},
  };
  for (const auto& wrong : cases) {
    ModelConfig config = good_config();
    wrong.spoil(config);
    const Status status = config.validate();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << wrong.expected;
    EXPECT_THAT(status.message(), HasSubstr("model.gguf: "));
    EXPECT_THAT(status.message(), HasSubstr(wrong.expected));
  }
}

}  // namespace
