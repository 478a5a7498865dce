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

Attention::Attention(const ModelConfig& config, const IndexRange& parts, uint32_t max_tokens)
    : config_(config),
      query_heads_(query_heads_of(config, parts)),
      kv_heads_(kv_heads_of(config, parts)),
      max_tokens_(max_tokens),
      keys_(size_t{kv_heads_.count} * config.head_dim * max_tokens),
      values_(size_t{kv_heads_.count} * config.head_dim * max_tokens),
      scores_(size_t{query_heads_.count} * kRowBlock * max_tokens) {}

void Attention::run(ComputePool& pool, const Sequence& sequence, uint32_t layer,
                    std::span<const PartRows> parts, uint32_t rows, uint32_t first_position) {
  const uint32_t tokens = first_position + rows;
  ENGINE_ASSERT(tokens <= max_tokens_);
  unpack(pool, sequence, layer, tokens);
  pool.parallel_for(query_heads_.count, [&](uint32_t index) {
    const uint32_t head = query_heads_.first + index;
    const auto part = std::find_if(parts.begin(), parts.end(), [head](const PartRows& one) {
      return head < one.query_heads.end();
    });
    run_head(*part, head, {rows, first_position});
  });
}

void Attention::unpack(ComputePool& pool, const Sequence& sequence, uint32_t layer,
                       uint32_t tokens) {
  const size_t head_floats = size_t{max_tokens_} * config_.head_dim;
  const KvPool& pages = sequence.pool();
  pool.parallel_for(kv_heads_.count * 2, [&](uint32_t tile) {
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

void Attention::run_head(const PartRows& part, uint32_t head, const Rows& rows) {
  const auto head_dim = static_cast<blasint>(config_.head_dim);
  const size_t kv_head = head / config_.group() - kv_heads_.first;
  const float* keys = keys_.data() + kv_head * max_tokens_ * config_.head_dim;
  const float* values = values_.data() + kv_head * max_tokens_ * config_.head_dim;
  float* scores = scores_.data() + size_t{head - query_heads_.first} * kRowBlock * max_tokens_;
  const float scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
  const auto query_stride = static_cast<blasint>(part.query_stride);
  const auto out_stride = static_cast<blasint>(part.out_stride);
  const size_t column = size_t{head - part.query_heads.first} * config_.head_dim;

  for (uint32_t first = 0; first < rows.count; first += kRowBlock) {
    const uint32_t count = std::min(kRowBlock, rows.count - first);
    const uint32_t tokens = rows.first_position + first + count;
    const auto seen = static_cast<blasint>(tokens);
    const float* query = part.queries + size_t{first} * part.query_stride + column;
    float* result = part.out + size_t{first} * part.out_stride + column;
    if (rows.count == 1) {
      cblas_sgemv(CblasRowMajor, CblasNoTrans, seen, head_dim, 1.0F, keys, head_dim, query, 1, 0.0F,
                  scores, 1);
      masked_softmax({scores, tokens}, tokens, scale);
      cblas_sgemv(CblasRowMajor, CblasTrans, seen, head_dim, 1.0F, values, head_dim, scores, 1,
                  0.0F, result, 1);
      return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(count), seen,
                head_dim, 1.0F, query, query_stride, keys, head_dim, 0.0F, scores, seen);
    for (uint32_t row = 0; row < count; ++row) {
      masked_softmax({scores + size_t{row} * tokens, tokens}, tokens - count + row + 1, scale);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(count), head_dim,
                seen, 1.0F, scores, seen, values, head_dim, 0.0F, result, out_stride);
  }
}

}  // namespace baton_engine
