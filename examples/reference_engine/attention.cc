#include "examples/reference_engine/attention.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "examples/reference_engine/engine_assert.h"
#include "examples/reference_engine/kernels.h"

namespace baton_engine {
namespace {

// Rows of scores that a head has at a time: bounds the scratch memory, and lets later rows see more
// keys than earlier ones without computing the masked ones.
constexpr uint32_t kRowBlock = 64;

}  // namespace

Attention::Attention(const ModelConfig& config, uint32_t max_tokens)
    : config_(config),
      max_tokens_(max_tokens),
      keys_(size_t{config.kv_width()} * max_tokens),
      values_(size_t{config.kv_width()} * max_tokens),
      scores_(size_t{config.heads} * kRowBlock * max_tokens) {}

void Attention::run(ComputePool& pool, const Sequence& sequence, uint32_t layer,
                    const Queries& queries, float* out) {
  const uint32_t tokens = queries.first_position + queries.rows;
  ENGINE_ASSERT(tokens <= max_tokens_);
  unpack(pool, sequence, layer, tokens);
  pool.parallel_for(config_.heads, [&](uint32_t head) { run_head(queries, head, out); });
}

void Attention::unpack(ComputePool& pool, const Sequence& sequence, uint32_t layer,
                       uint32_t tokens) {
  const size_t head_floats = size_t{max_tokens_} * config_.head_dim;
  const KvPool& pages = sequence.pool();
  pool.parallel_for(config_.kv_heads * 2, [&](uint32_t tile) {
    const uint32_t head = tile / 2;
    if (tile % 2 == 0) {
      pages.load_head(layer, KvTensor::kKey, sequence.blocks(), head, tokens,
                      keys_.data() + head_floats * head);
    } else {
      pages.load_head(layer, KvTensor::kValue, sequence.blocks(), head, tokens,
                      values_.data() + head_floats * head);
    }
  });
}

void Attention::run_head(const Queries& queries, uint32_t head, float* out) {
  const auto head_dim = static_cast<blasint>(config_.head_dim);
  const size_t kv_head = head / config_.group();
  const float* keys = keys_.data() + kv_head * max_tokens_ * config_.head_dim;
  const float* values = values_.data() + kv_head * max_tokens_ * config_.head_dim;
  float* scores = scores_.data() + size_t{head} * kRowBlock * max_tokens_;
  const float scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
  const auto query_stride = static_cast<blasint>(queries.stride);
  const auto out_stride = static_cast<blasint>(config_.query_width());

  for (uint32_t first = 0; first < queries.rows; first += kRowBlock) {
    const uint32_t rows = std::min(kRowBlock, queries.rows - first);
    const uint32_t tokens = queries.first_position + first + rows;
    const auto seen = static_cast<blasint>(tokens);
    const float* query =
        queries.data + size_t{first} * queries.stride + size_t{head} * config_.head_dim;
    float* result = out + size_t{first} * config_.query_width() + size_t{head} * config_.head_dim;
    if (queries.rows == 1) {
      cblas_sgemv(CblasRowMajor, CblasNoTrans, seen, head_dim, 1.0F, keys, head_dim, query, 1, 0.0F,
                  scores, 1);
      masked_softmax({scores, tokens}, tokens, scale);
      cblas_sgemv(CblasRowMajor, CblasTrans, seen, head_dim, 1.0F, values, head_dim, scores, 1,
                  0.0F, result, 1);
      return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(rows), seen, head_dim,
                1.0F, query, query_stride, keys, head_dim, 0.0F, scores, seen);
    for (uint32_t row = 0; row < rows; ++row) {
      masked_softmax({scores + size_t{row} * tokens, tokens}, tokens - rows + row + 1, scale);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(rows), head_dim,
                seen, 1.0F, scores, seen, values, head_dim, 0.0F, result, out_stride);
  }
}

}  // namespace baton_engine
