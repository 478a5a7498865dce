#include "examples/reference_engine/forward_pass.h"

#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "examples/reference_engine/engine_assert.h"
#include "examples/reference_engine/kernels.h"
#include "examples/reference_engine/matrix_product.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

// Rows that one thread takes at a time in the element-wise parts.
constexpr uint32_t kRowsPerTile = 8;

template <typename Body>
void for_rows(ComputePool& pool, uint32_t rows, const Body& body) {
  const uint32_t tiles = (rows + kRowsPerTile - 1) / kRowsPerTile;
  pool.parallel_for(tiles, [&](uint32_t tile) {
    const uint32_t last = std::min(rows, (tile + 1) * kRowsPerTile);
    for (uint32_t row = tile * kRowsPerTile; row < last; ++row) body(row);
  });
}

// Products to be computed at once; those of an empty part are none.
class Products {
 public:
  void add(const Product& product) {
    if (product.weights.outputs == 0 || product.weights.inputs == 0) return;
    list_[count_++] = product;
  }
  std::span<const Product> list() const { return std::span(list_).first(count_); }

 private:
  std::array<Product, kMaxProducts> list_;
  size_t count_ = 0;
};

// All parts in one process: nothing to wait for.
class OwnSums final : public PartialSums {
 public:
  explicit OwnSums(size_t floats) : floats_(floats), buffer_(floats * kTensorParts) {}

  float* partial(uint32_t part) override { return buffer_.data() + floats_ * part; }
  Status meet() override { return Status::ok(); }
  const float* met(uint32_t part) const override { return buffer_.data() + floats_ * part; }

 private:
  size_t floats_;
  FloatBuffer buffer_;
};

}  // namespace

Result<ForwardPass> ForwardPass::create(const Model& model, ComputePool& pool,
                                        const ForwardOptions& options) {
  if (options.chunk_tokens == 0 || options.chunk_tokens > kMaxChunkTokens) {
    return Status(StatusCode::kInvalidArgument,
                  "chunk_tokens is " + std::to_string(options.chunk_tokens) + "; expected 1 to " +
                      std::to_string(kMaxChunkTokens));
  }
  use_single_threaded_blas();
  try {
    return ForwardPass(model, pool, options);
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kExhausted, "no memory for the forward pass's buffers");
  }
}

ForwardPass::ForwardPass(const Model& model, ComputePool& pool, const ForwardOptions& options)
    : model_(&model),
      pool_(&pool),
      chunk_tokens_(options.chunk_tokens),
      held_(options.parts),
      sums_(options.sums),
      attention_(model.config(), options.parts, model.config().context_tokens),
      hidden_(size_t{chunk_tokens_} * model.config().hidden),
      normal_(size_t{chunk_tokens_} * model.config().hidden),
      logits_(model.config().vocabulary) {
  ENGINE_ASSERT(overlap(held_, model.parts()) == held_);
  ENGINE_ASSERT((held_ == kAllParts) == (sums_ == nullptr));
  const size_t rows = chunk_tokens_;
  uint32_t stored = kv_heads_of(model.config(), held_).first;
  for (uint32_t index = held_.first; index < held_.end(); ++index) {
    Part& part = parts_.emplace_back();
    part.index = index;
    part.cut = tensor_part(model.config(), index);
    part.stored_kv_heads.first = std::max(part.cut.kv_heads.first, stored);
    stored = std::max(stored, part.cut.kv_heads.end());
    part.stored_kv_heads.count = stored - part.stored_kv_heads.first;
    part.query_width = part.cut.query_heads.count * model.config().head_dim;
    part.kv_width = part.cut.kv_heads.count * model.config().head_dim;
    part.query = FloatBuffer(rows * part.query_width);
    part.key = FloatBuffer(rows * part.kv_width);
    part.value = FloatBuffer(rows * part.kv_width);
    part.attended = FloatBuffer(rows * part.query_width);
    part.gate_up = FloatBuffer(rows * 2 * part.cut.feed_forward.count);
    part.activated = FloatBuffer(rows * part.cut.feed_forward.count);
  }
  if (sums_ != nullptr) return;
  own_sums_ = std::make_unique<OwnSums>(rows * model.config().hidden);
  sums_ = own_sums_.get();
}

KvShape ForwardPass::kv_shape(const ModelConfig& config, const IndexRange& parts) {
  KvShape shape;
  shape.layers = config.layers;
  shape.kv_heads = kv_heads_of(config, parts).count;
  shape.head_dim = config.head_dim;
  return shape;
}

Status ForwardPass::check(const Sequence& sequence, std::span<const uint32_t> tokens) const {
  const ModelConfig& config = model_->config();
  const KvShape& shape = sequence.pool().shape();
  if (shape.layers != config.layers || shape.kv_heads != kv_heads_of(config, held_).count ||
      shape.head_dim != config.head_dim) {
    return Status(StatusCode::kInvalidArgument, "the KV pool has another shape than the model");
  }
  const uint64_t end = uint64_t{sequence.length_tokens()} + tokens.size();
  if (end > config.context_tokens) {
    return Status(StatusCode::kOutOfRange, "token " + std::to_string(end) +
                                               " lies past the model's context of " +
                                               std::to_string(config.context_tokens));
  }
  if (end > sequence.capacity_tokens()) {
    return Status(StatusCode::kOutOfRange, "token " + std::to_string(end) +
                                               " lies past the sequence's capacity of " +
                                               std::to_string(sequence.capacity_tokens()));
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= config.vocabulary) {
      return Status(StatusCode::kInvalidArgument,
                    "token " + std::to_string(tokens[i]) + " at index " + std::to_string(i) +
                        " is outside the vocabulary of " + std::to_string(config.vocabulary));
    }
  }
  return Status::ok();
}

Status ForwardPass::prefill(Sequence& sequence, std::span<const uint32_t> tokens,
                            ForwardHooks* hooks) {
  BATON_RETURN_IF_ERROR(check(sequence, tokens));
  Chunk chunk;
  for (size_t at = 0; at < tokens.size(); at += chunk_tokens_, ++chunk.index) {
    const size_t count = std::min<size_t>(chunk_tokens_, tokens.size() - at);
    chunk.begin_token = sequence.length_tokens();
    chunk.end_token = chunk.begin_token + static_cast<uint32_t>(count);
    chunk.is_last = at + count == tokens.size();
    BATON_RETURN_IF_ERROR(prefill_chunk(sequence, tokens.subspan(at, count), chunk, hooks));
    sequence.advance(static_cast<uint32_t>(count));
  }
  return Status::ok();
}

Status ForwardPass::prefill_chunk(Sequence& sequence, std::span<const uint32_t> tokens,
                                  const Chunk& chunk, ForwardHooks* hooks) {
  const auto rows = static_cast<uint32_t>(tokens.size());
  const uint32_t layers = model_->config().layers;
  embed(tokens);
  for (uint32_t layer = 0; layer < layers; ++layer) {
    project(layer, rows, chunk.begin_token);
    append_kv(sequence, layer, rows, chunk.begin_token);
    if (hooks != nullptr) BATON_RETURN_IF_ERROR(hooks->on_layer_kv_final(chunk, layer));
    // Nobody reads what the last layer would compute from its KV.
    if (layer + 1 == layers) break;
    BATON_RETURN_IF_ERROR(attend(sequence, layer, rows, chunk.begin_token));
    BATON_RETURN_IF_ERROR(feed_forward(layer, rows));
    if (hooks != nullptr) hooks->on_layer_output(layer, hidden_rows(rows));
  }
  return Status::ok();
}

Status ForwardPass::step(Sequence& sequence, uint32_t token, ForwardHooks* hooks) {
  const std::span<const uint32_t> tokens(&token, 1);
  BATON_RETURN_IF_ERROR(check(sequence, tokens));
  const uint32_t position = sequence.length_tokens();
  embed(tokens);
  for (uint32_t layer = 0; layer < model_->config().layers; ++layer) {
    project(layer, 1, position);
    if (hooks != nullptr) BATON_RETURN_IF_ERROR(hooks->before_layer_attention(layer));
    append_kv(sequence, layer, 1, position);
    BATON_RETURN_IF_ERROR(attend(sequence, layer, 1, position));
    BATON_RETURN_IF_ERROR(feed_forward(layer, 1));
    if (hooks != nullptr) hooks->on_layer_output(layer, hidden_rows(1));
  }
  sequence.advance(1);
  return Status::ok();
}

Result<std::span<const float>> ForwardPass::decode(Sequence& sequence, uint32_t token,
                                                   ForwardHooks* hooks) {
  BATON_RETURN_IF_ERROR(step(sequence, token, hooks));
  normalize(1, model_->output_norm());
  const Product output{normal_.data(), model_->config().hidden, model_->output(), logits_.data(),
                       model_->config().vocabulary};
  multiply(*pool_, {&output, 1}, 1);
  return std::span<const float>(logits_.span());
}

void ForwardPass::embed(std::span<const uint32_t> tokens) {
  float* out = hidden_.data();
  for (const uint32_t token : tokens) {
    const std::span<const float> row = model_->embedding(token);
    out = std::copy(row.begin(), row.end(), out);
  }
}

void ForwardPass::normalize(uint32_t rows, std::span<const float> weight) {
  const size_t width = model_->config().hidden;
  for_rows(*pool_, rows, [&](uint32_t row) {
    rms_norm({hidden_.data() + row * width, width}, weight, model_->config().norm_epsilon,
             {normal_.data() + row * width, width});
  });
}

void ForwardPass::project(uint32_t layer, uint32_t rows, uint32_t first_position) {
  const LayerWeights& weights = model_->layer(layer);
  const uint32_t hidden = model_->config().hidden;
  normalize(rows, weights.attention_norm);
  Products products;
  for (Part& part : parts_) {
    const PartWeights& own = weights.parts[part.index];
    products.add({normal_.data(), hidden, own.query, part.query.data(), part.query_width});
    // Copies of a KV head are the same on every rank, however many others it computes.
    const uint32_t head_dim = model_->config().head_dim;
    products.add({normal_.data(), hidden, own.key, part.key.data(), part.kv_width, head_dim});
    products.add({normal_.data(), hidden, own.value, part.value.data(), part.kv_width, head_dim});
  }
  multiply(*pool_, products.list(), rows);
  for_rows(*pool_, rows, [&](uint32_t row) {
    for (Part& part : parts_) turn(part, row, first_position + row);
  });
}

void ForwardPass::turn(Part& part, uint32_t row, uint32_t position) {
  const size_t head_dim = model_->config().head_dim;
  const auto turn_heads = [&](float* heads, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      rotate_pairs({heads + i * head_dim, head_dim}, model_->rope_cosine(position),
                   model_->rope_sine(position));
    }
  };
  turn_heads(part.query.data() + size_t{row} * part.query_width, part.cut.query_heads.count);
  turn_heads(part.key.data() + size_t{row} * part.kv_width, part.cut.kv_heads.count);
}

void ForwardPass::append_kv(Sequence& sequence, uint32_t layer, uint32_t rows,
                            uint32_t first_position) {
  const size_t head_dim = model_->config().head_dim;
  const uint32_t first_held = kv_heads_of(model_->config(), held_).first;
  for_rows(*pool_, rows, [&](uint32_t row) {
    for (const Part& part : parts_) {
      const IndexRange& stored = part.stored_kv_heads;
      if (stored.is_empty()) continue;
      const size_t at =
          size_t{row} * part.kv_width + (stored.first - part.cut.kv_heads.first) * head_dim;
      const size_t floats = stored.count * head_dim;
      const uint32_t head = stored.first - first_held;
      const uint32_t position = first_position + row;
      sequence.store_token(layer, KvTensor::kKey, position, {part.key.data() + at, floats}, head);
      sequence.store_token(layer, KvTensor::kValue, position, {part.value.data() + at, floats},
                           head);
    }
  });
}

Status ForwardPass::attend(const Sequence& sequence, uint32_t layer, uint32_t rows,
                           uint32_t first_position) {
  std::array<Attention::PartRows, kTensorParts> heads;
  Products products;
  for (size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    heads[i] = {part.cut.query_heads, part.query.data(), part.query_width, part.attended.data(),
                part.query_width};
    products.add({part.attended.data(), part.query_width,
                  model_->layer(layer).parts[part.index].attention_output,
                  sums_->partial(part.index), model_->config().hidden});
  }
  attention_.run(*pool_, sequence, layer, std::span(heads).first(parts_.size()), rows,
                 first_position);
  multiply(*pool_, products.list(), rows);
  return add_up(Sum::kAttention, rows);
}

Status ForwardPass::feed_forward(uint32_t layer, uint32_t rows) {
  const LayerWeights& weights = model_->layer(layer);
  const uint32_t hidden = model_->config().hidden;
  normalize(rows, weights.feed_forward_norm);
  Products widen;
  Products narrow;
  for (Part& part : parts_) {
    const PartWeights& own = weights.parts[part.index];
    const uint32_t width = part.cut.feed_forward.count;
    widen.add({normal_.data(), hidden, own.gate, part.gate_up.data(), 2 * width});
    widen.add({normal_.data(), hidden, own.up, part.gate_up.data() + width, 2 * width});
    narrow.add({part.activated.data(), width, own.down, sums_->partial(part.index), hidden});
  }
  multiply(*pool_, widen.list(), rows);
  for_rows(*pool_, rows, [&](uint32_t row) {
    for (Part& part : parts_) {
      const size_t width = part.cut.feed_forward.count;
      swiglu({part.gate_up.data() + row * 2 * width, 2 * width},
             {part.activated.data() + row * width, width});
    }
  });
  multiply(*pool_, narrow.list(), rows);
  return add_up(Sum::kFeedForward, rows);
}

Status ForwardPass::add_up(Sum sum, uint32_t rows) {
  BATON_RETURN_IF_ERROR(sums_->meet());
  std::array<const float*, kTensorParts> partials{};
  size_t count = 0;
  for (uint32_t index = 0; index < kTensorParts; ++index) {
    const TensorPart part = tensor_part(model_->config(), index);
    const IndexRange& inputs = sum == Sum::kAttention ? part.query_heads : part.feed_forward;
    if (!inputs.is_empty()) partials[count++] = sums_->met(index);
  }
  const size_t width = model_->config().hidden;
  for_rows(*pool_, rows, [&](uint32_t row) {
    std::array<const float*, kTensorParts> at = partials;
    for (size_t i = 0; i < count; ++i) at[i] += row * width;
    add_partials({hidden_.data() + row * width, width}, std::span(at).first(count));
  });
  return Status::ok();
}

std::span<const float> ForwardPass::hidden_rows(uint32_t rows) const {
  return hidden_.span().first(size_t{rows} * model_->config().hidden);
}

}  // namespace baton_engine
