// ModelConfig: the shape of a Llama model: grouped-query attention, rotary positions, RMSNorm,
// SwiGLU.
#pragma once

#include <cstdint>
#include <string>

#include "baton/status.h"

namespace baton_engine {

struct ModelConfig {
  std::string name;
  uint32_t layers = 0;
  uint32_t hidden = 0;
  uint32_t feed_forward = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t vocabulary = 0;
  uint32_t context_tokens = 0;
  float rope_base = 10000.0F;
  float norm_epsilon = 1e-5F;

  uint32_t query_width() const { return heads * head_dim; }
  uint32_t kv_width() const { return kv_heads * head_dim; }
  // Query heads that share one KV head.
  uint32_t group() const { return heads / kv_heads; }
  // Bytes of f32 weights, the output layer included when it is not the embedding itself.
  uint64_t weight_floats(bool tied_output) const;

  // kInvalidArgument names the field that is zero, too large or does not divide.
  baton::Status validate() const;
};

}  // namespace baton_engine
