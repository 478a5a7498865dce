#include "examples/reference_engine/model.h"

#include <cmath>
#include <new>
#include <string>
#include <utility>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

Result<std::unique_ptr<Model>> Model::create(ModelConfig config, bool tied_output,
                                             Tokenizer tokenizer) {
  BATON_RETURN_IF_ERROR(config.validate());
  if (tokenizer.vocabulary_size() != config.vocabulary) {
    return Status(StatusCode::kInvalidArgument,
                  config.name + ": " + std::to_string(tokenizer.vocabulary_size()) +
                      " tokens for a vocabulary of " + std::to_string(config.vocabulary));
  }
  const uint64_t floats = config.weight_floats(tied_output);
  try {
    FloatBuffer weights(floats);
    return std::unique_ptr<Model>(
        new Model(std::move(config), std::move(tokenizer), std::move(weights), tied_output));
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kExhausted,
                  "no memory for " + std::to_string(floats * 4 >> 20) + " MiB of weights");
  }
}

Model::Model(ModelConfig config, Tokenizer tokenizer, FloatBuffer weights, bool tied_output)
    : config_(std::move(config)), tokenizer_(std::move(tokenizer)), weights_(std::move(weights)) {
  lay_out(tied_output);
  fill_rope();
}

void Model::lay_out(bool tied_output) {
  std::span<float> rest = weights_.span();
  const auto take = [&rest](uint64_t count) {
    const std::span<float> part = rest.first(count);
    rest = rest.subspan(count);
    return part;
  };
  const uint64_t hidden = config_.hidden;
  const uint64_t query = hidden * config_.query_width();
  const uint64_t kv = hidden * config_.kv_width();
  const uint64_t feed_forward = hidden * config_.feed_forward;
  layout_.embedding = take(hidden * config_.vocabulary);
  for (uint32_t i = 0; i < config_.layers; ++i) {
    Layout::Layer part;
    part.attention_norm = take(hidden);
    // Neighbours, so that one product computes all three.
    part.query = take(query);
    part.key = take(kv);
    part.value = take(kv);
    part.attention_output = take(query);
    part.feed_forward_norm = take(hidden);
    part.gate = take(feed_forward);
    part.up = take(feed_forward);
    part.down = take(feed_forward);
    layout_.layers.push_back(part);
    layers_.push_back(LayerWeights{
        .attention_norm = part.attention_norm,
        .qkv = {part.query.data(), config_.query_width() + 2 * config_.kv_width(), config_.hidden},
        .attention_output = {part.attention_output.data(), config_.hidden, config_.query_width()},
        .feed_forward_norm = part.feed_forward_norm,
        .gate_up = {part.gate.data(), 2 * config_.feed_forward, config_.hidden},
        .down = {part.down.data(), config_.hidden, config_.feed_forward},
    });
  }
  layout_.output_norm = take(hidden);
  if (!tied_output) layout_.output = take(hidden * config_.vocabulary);
  output_ = {tied_output ? layout_.embedding.data() : layout_.output.data(), config_.vocabulary,
             config_.hidden};
  ENGINE_ASSERT(rest.empty());
}

void Model::fill_rope() {
  const uint32_t pairs = config_.head_dim / 2;
  rope_.resize(size_t{config_.context_tokens} * config_.head_dim);
  std::vector<double> frequency(pairs);
  for (uint32_t i = 0; i < pairs; ++i) {
    frequency[i] = std::pow(double{config_.rope_base}, -2.0 * i / config_.head_dim);
  }
  for (uint32_t position = 0; position < config_.context_tokens; ++position) {
    float* cosine = rope_.data() + size_t{position} * config_.head_dim;
    for (uint32_t i = 0; i < pairs; ++i) {
      cosine[i] = static_cast<float>(std::cos(position * frequency[i]));
      cosine[pairs + i] = static_cast<float>(std::sin(position * frequency[i]));
    }
  }
}

std::span<const float> Model::rope_cosine(uint32_t position) const {
  ENGINE_ASSERT(position < config_.context_tokens);
  return std::span<const float>(rope_).subspan(size_t{position} * config_.head_dim,
                                               config_.head_dim / 2);
}

std::span<const float> Model::rope_sine(uint32_t position) const {
  ENGINE_ASSERT(position < config_.context_tokens);
  const uint32_t pairs = config_.head_dim / 2;
  return std::span<const float>(rope_).subspan(size_t{position} * config_.head_dim + pairs, pairs);
}

}  // namespace baton_engine
