#include "examples/reference_engine/forward_pass.h"

#include <algorithm>
#include <new>
#include <string>

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
      qkv_width_(model.config().query_width() + 2 * model.config().kv_width()),
      attention_(model.config(), model.config().context_tokens),
      hidden_(size_t{chunk_tokens_} * model.config().hidden),
      normal_(size_t{chunk_tokens_} * model.config().hidden),
      qkv_(size_t{chunk_tokens_} * qkv_width_),
      attended_(size_t{chunk_tokens_} * model.config().query_width()),
      gate_up_(size_t{chunk_tokens_} * 2 * model.config().feed_forward),
      activated_(size_t{chunk_tokens_} * model.config().feed_forward),
      logits_(model.config().vocabulary) {}

KvShape ForwardPass::kv_shape(const ModelConfig& config) {
  KvShape shape;
  shape.layers = config.layers;
  shape.kv_heads = config.kv_heads;
  shape.head_dim = config.head_dim;
  return shape;
}

Status ForwardPass::check(const Sequence& sequence, std::span<const uint32_t> tokens) const {
  const ModelConfig& config = model_->config();
  const KvShape& shape = sequence.pool().shape();
  if (shape.layers != config.layers || shape.kv_heads != config.kv_heads ||
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
    attend(sequence, layer, rows, chunk.begin_token);
    feed_forward(layer, rows);
    if (hooks != nullptr) hooks->on_layer_output(layer, hidden_rows(rows));
  }
  return Status::ok();
}

Result<std::span<const float>> ForwardPass::decode(Sequence& sequence, uint32_t token,
                                                   ForwardHooks* hooks) {
  const std::span<const uint32_t> tokens(&token, 1);
  BATON_RETURN_IF_ERROR(check(sequence, tokens));
  const uint32_t position = sequence.length_tokens();
  embed(tokens);
  for (uint32_t layer = 0; layer < model_->config().layers; ++layer) {
    project(layer, 1, position);
    if (hooks != nullptr) BATON_RETURN_IF_ERROR(hooks->before_layer_attention(layer));
    append_kv(sequence, layer, 1, position);
    attend(sequence, layer, 1, position);
    feed_forward(layer, 1);
    if (hooks != nullptr) hooks->on_layer_output(layer, hidden_rows(1));
  }
  sequence.advance(1);
  normalize(1, model_->output_norm());
  multiply(*pool_, normal_.data(), 1, model_->output(), ProductMode::kStore, logits_.data());
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
  const ModelConfig& config = model_->config();
  const LayerWeights& weights = model_->layer(layer);
  normalize(rows, weights.attention_norm);
  multiply(*pool_, normal_.data(), rows, weights.qkv, ProductMode::kStore, qkv_.data());
  const size_t head_dim = config.head_dim;
  for_rows(*pool_, rows, [&](uint32_t row) {
    float* head = qkv_.data() + size_t{row} * qkv_width_;
    // Key heads follow the query heads and are turned, too; values are not.
    for (uint32_t i = 0; i < config.heads + config.kv_heads; ++i, head += head_dim) {
      rotate_pairs({head, head_dim}, model_->rope_cosine(first_position + row),
                   model_->rope_sine(first_position + row));
    }
  });
}

void ForwardPass::append_kv(Sequence& sequence, uint32_t layer, uint32_t rows,
                            uint32_t first_position) {
  const size_t query_width = model_->config().query_width();
  const size_t kv_width = model_->config().kv_width();
  for_rows(*pool_, rows, [&](uint32_t row) {
    const float* key = qkv_.data() + size_t{row} * qkv_width_ + query_width;
    sequence.store_token(layer, KvTensor::kKey, first_position + row, {key, kv_width});
    sequence.store_token(layer, KvTensor::kValue, first_position + row, {key + kv_width, kv_width});
  });
}

void ForwardPass::attend(const Sequence& sequence, uint32_t layer, uint32_t rows,
                         uint32_t first_position) {
  attention_.run(*pool_, sequence, layer, {qkv_.data(), rows, qkv_width_, first_position},
                 attended_.data());
  multiply(*pool_, attended_.data(), rows, model_->layer(layer).attention_output, ProductMode::kAdd,
           hidden_.data());
}

void ForwardPass::feed_forward(uint32_t layer, uint32_t rows) {
  const LayerWeights& weights = model_->layer(layer);
  const size_t width = model_->config().feed_forward;
  normalize(rows, weights.feed_forward_norm);
  multiply(*pool_, normal_.data(), rows, weights.gate_up, ProductMode::kStore, gate_up_.data());
  for_rows(*pool_, rows, [&](uint32_t row) {
    swiglu({gate_up_.data() + row * 2 * width, 2 * width},
           {activated_.data() + row * width, width});
  });
  multiply(*pool_, activated_.data(), rows, weights.down, ProductMode::kAdd, hidden_.data());
}

std::span<const float> ForwardPass::hidden_rows(uint32_t rows) const {
  return hidden_.span().first(size_t{rows} * model_->config().hidden);
}

}  // namespace baton_engine
