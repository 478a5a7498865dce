// Attention: causal grouped-query attention of some query rows over the paged KV of one sequence.
//
// Pages are first unpacked to dense float32, one KV head at a time; then each query head is two
// BLAS products and a softmax. Bits depend on the number of rows and on the positions alone, not on
// the pages' order, block size or threads, nor on which other heads there are.
//
// Thread rule: one call at a time (it owns scratch memory).
#pragma once

#include <cstdint>
#include <span>

#include "examples/reference_engine/compute_pool.h"
#include "examples/reference_engine/float_buffer.h"
#include "examples/reference_engine/model_config.h"
#include "examples/reference_engine/sequence.h"
#include "examples/reference_engine/tensor_parts.h"

namespace baton_engine {

class Attention {
 public:
  // Of the query heads and KV heads of `parts`. Scratch for sequences of up to `max_tokens`; about
  // 2 KiB a token for SmolLM2-135M, touched as used.
  Attention(const ModelConfig& config, const IndexRange& parts, uint32_t max_tokens);

  // The queries of one part, head after head in each row, and where its results go, likewise.
  struct PartRows {
    IndexRange query_heads;
    const float* queries = nullptr;
    uint32_t query_stride = 0;  // floats from row to row
    float* out = nullptr;
    uint32_t out_stride = 0;
  };

  // `rows` rows, the first at position `first_position`. The KV of positions [0, first_position +
  // rows) must be in the pages, whose heads are those of the parts. REQUIRES: the parts' query
  // heads adjoin, and are those of the constructor.
  void run(ComputePool& pool, const Sequence& sequence, uint32_t layer,
           std::span<const PartRows> parts, uint32_t rows, uint32_t first_position);

 private:
  struct Rows {
    uint32_t count = 0;
    uint32_t first_position = 0;
  };
  void unpack(ComputePool& pool, const Sequence& sequence, uint32_t layer, uint32_t tokens);
  void run_head(const PartRows& part, uint32_t head, const Rows& rows);

  const ModelConfig& config_;
  IndexRange query_heads_;
  IndexRange kv_heads_;
  uint32_t max_tokens_;
  FloatBuffer keys_;    // [KV heads][max_tokens][head_dim]
  FloatBuffer values_;  // the same
  FloatBuffer scores_;  // [query heads][row block][max_tokens]
};

}  // namespace baton_engine
