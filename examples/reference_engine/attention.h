// Attention: causal grouped-query attention of some query rows over the paged KV of one sequence.
//
// Pages are first unpacked to dense float32, one KV head at a time; then each query head is two
// BLAS products and a softmax. Bits depend on the number of rows and on the positions alone, not on
// the pages' order, block size or threads.
//
// Thread rule: one call at a time (it owns scratch memory).
#pragma once

#include <cstdint>

#include "examples/reference_engine/compute_pool.h"
#include "examples/reference_engine/float_buffer.h"
#include "examples/reference_engine/model_config.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

class Attention {
 public:
  // Scratch for sequences of up to `max_tokens`; about 2 KiB a token for SmolLM2-135M, touched as
  // used.
  Attention(const ModelConfig& config, uint32_t max_tokens);

  // Rows of queries, the first at position `first_position`.
  struct Queries {
    const float* data = nullptr;
    uint32_t rows = 0;
    uint32_t stride = 0;  // floats from row to row
    uint32_t first_position = 0;
  };

  // out[rows][query_width]. The KV of positions [0, first_position + rows) must be in the pages.
  void run(ComputePool& pool, const Sequence& sequence, uint32_t layer, const Queries& queries,
           float* out);

 private:
  void unpack(ComputePool& pool, const Sequence& sequence, uint32_t layer, uint32_t tokens);
  void run_head(const Queries& queries, uint32_t head, float* out);

  const ModelConfig& config_;
  uint32_t max_tokens_;
  FloatBuffer keys_;    // [kv_heads][max_tokens][head_dim]
  FloatBuffer values_;  // the same
  FloatBuffer scores_;  // [heads][row block][max_tokens]
};

}  // namespace baton_engine
