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

// Hands out one piece of memory after the other, each from a cache line on, so that a part's
// weights lie alike whichever other parts are held.
class Model::Carver {
 public:
  explicit Carver(float* base) : base_(base) {}

  float* take(uint64_t count) {
    constexpr uint64_t kLineFloats = 16;
    float* out = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (count + kLineFloats - 1) / kLineFloats * kLineFloats;
    return out;
  }
  // A whole tensor.
  float* take(WeightPlace& place, uint64_t rows, uint64_t columns) {
    float* out = take(rows * columns);
    place.add({out, 0, rows, 0, columns});
    return out;
  }
  // Some rows of one with `columns` columns.
  WeightMatrix take_rows(WeightPlace& place, uint64_t first, uint32_t rows, uint32_t columns) {
    float* out = take(uint64_t{rows} * columns);
    place.add({out, first, rows, 0, columns});
    return {out, rows, columns};
  }
  // Some columns of one with `rows` rows.
  WeightMatrix take_columns(WeightPlace& place, uint32_t rows, uint64_t first, uint32_t columns) {
    float* out = take(uint64_t{rows} * columns);
    place.add({out, 0, rows, first, columns});
    return {out, rows, columns};
  }
  uint64_t used() const { return used_; }

 private:
  float* base_;
  uint64_t used_ = 0;
};

Result<std::unique_ptr<Model>> Model::create(ModelConfig config, bool tied_output,
                                             Tokenizer tokenizer, const IndexRange& parts) {
  BATON_RETURN_IF_ERROR(config.validate());
  ENGINE_ASSERT(!parts.is_empty() && parts.end() <= kTensorParts);
  if (tokenizer.vocabulary_size() != config.vocabulary) {
    return Status(StatusCode::kInvalidArgument,
                  config.name + ": " + std::to_string(tokenizer.vocabulary_size()) +
                      " tokens for a vocabulary of " + std::to_string(config.vocabulary));
  }
  std::unique_ptr<Model> model(
      new Model(std::move(config), tied_output, std::move(tokenizer), parts));
  const uint64_t floats = model->lay_out(nullptr);
  try {
    model->weights_ = FloatBuffer(floats);
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kExhausted,
                  "no memory for " + std::to_string(floats * 4 >> 20) + " MiB of weights");
  }
  model->lay_out(model->weights_.data());
  return model;
}

Model::Model(ModelConfig config, bool tied_output, Tokenizer tokenizer, const IndexRange& parts)
    : config_(std::move(config)),
      tied_output_(tied_output),
      tokenizer_(std::move(tokenizer)),
      parts_(parts) {
  fill_rope();
}

uint64_t Model::lay_out(float* base) {
  Carver carver(base);
  layout_ = {};
  layers_.clear();
  embedding_ = carver.take(layout_.embedding, config_.vocabulary, config_.hidden);
  for (uint32_t i = 0; i < config_.layers; ++i) lay_out_layer(carver);
  output_norm_ = {carver.take(layout_.output_norm, 1, config_.hidden), config_.hidden};
  output_ = {embedding_, config_.vocabulary, config_.hidden};
  if (!tied_output_) {
    output_.data = carver.take(layout_.output, config_.vocabulary, config_.hidden);
  }
  return carver.used();
}

void Model::lay_out_layer(Carver& carver) {
  const uint32_t hidden = config_.hidden;
  const uint32_t head_dim = config_.head_dim;
  Layout::Layer& places = layout_.layers.emplace_back();
  LayerWeights& weights = layers_.emplace_back();
  weights.attention_norm = {carver.take(places.attention_norm, 1, hidden), hidden};
  weights.feed_forward_norm = {carver.take(places.feed_forward_norm, 1, hidden), hidden};
  for (uint32_t index = parts_.first; index < parts_.end(); ++index) {
    const TensorPart part = tensor_part(config_, index);
    PartWeights& out = weights.parts[index];
    const uint64_t query = uint64_t{part.query_heads.first} * head_dim;
    const uint64_t kv = uint64_t{part.kv_heads.first} * head_dim;
    const uint32_t query_width = part.query_heads.count * head_dim;
    const uint32_t kv_width = part.kv_heads.count * head_dim;
    const IndexRange& columns = part.feed_forward;
    out.query = carver.take_rows(places.query, query, query_width, hidden);
    out.key = carver.take_rows(places.key, kv, kv_width, hidden);
    out.value = carver.take_rows(places.value, kv, kv_width, hidden);
    out.attention_output = carver.take_columns(places.attention_output, hidden, query, query_width);
    out.gate = carver.take_rows(places.gate, columns.first, columns.count, hidden);
    out.up = carver.take_rows(places.up, columns.first, columns.count, hidden);
    out.down = carver.take_columns(places.down, hidden, columns.first, columns.count);
  }
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
