// ForwardPass: runs a Model over a Sequence: prompt chunks, then one token at a time.
//
// Invariants:
//  1. The same tokens, prefilled in chunks of the same size and then decoded, give the same bits of
//     KV, hidden states and logits in every process on one machine, whatever the threads, the
//     blocks that the sequence got, and who wrote the pages.
//  2. Prefill computes no logits: a prompt of N tokens is N - 1 tokens of prefill, and its last
//  token
//     is the first decode step.
//
// Ownership: the model and the pool outlive it. Thread rule: one call at a time; several
// ForwardPasses may share a Model and a ComputePool, each on its own thread.
#pragma once

#include <cstdint>
#include <span>

#include "baton/status.h"
#include "examples/reference_engine/attention.h"
#include "examples/reference_engine/compute_pool.h"
#include "examples/reference_engine/float_buffer.h"
#include "examples/reference_engine/forward_hooks.h"
#include "examples/reference_engine/model.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

struct ForwardOptions {
  // Rows of a prefill chunk. More rows use the CPU better, fewer hand layers over sooner. Equal on
  // both sides of a comparison, because the bits depend on it.
  uint32_t chunk_tokens = 256;
};

class ForwardPass {
 public:
  static constexpr uint32_t kMaxChunkTokens = 4096;

  // kInvalidArgument when options.chunk_tokens is not in [1, kMaxChunkTokens].
  static baton::Result<ForwardPass> create(const Model& model, ComputePool& pool,
                                           const ForwardOptions& options);

  // The shape of a KV pool for this model: layers, kv_heads and head_dim.
  static KvShape kv_shape(const ModelConfig& config);

  // Appends the KV of `tokens` after those that `sequence` holds, chunk by chunk. `hooks` may be
  // null. No tokens: nothing happens. kOutOfRange past the sequence's capacity or the model's
  // context; kInvalidArgument for a token that is none or a pool of another shape. After an error
  // of a hook the sequence keeps the length of the chunks that ended.
  baton::Status prefill(Sequence& sequence, std::span<const uint32_t> tokens, ForwardHooks* hooks);

  // Appends one token and returns the logits of the next, [vocabulary], valid until the next call.
  // Errors as above; after one the sequence is as before.
  baton::Result<std::span<const float>> decode(Sequence& sequence, uint32_t token,
                                               ForwardHooks* hooks);

 private:
  ForwardPass(const Model& model, ComputePool& pool, const ForwardOptions& options);

  baton::Status check(const Sequence& sequence, std::span<const uint32_t> tokens) const;
  baton::Status prefill_chunk(Sequence& sequence, std::span<const uint32_t> tokens,
                              const Chunk& chunk, ForwardHooks* hooks);
  void embed(std::span<const uint32_t> tokens);
  void normalize(uint32_t rows, std::span<const float> weight);
  // Query, key and value rows, turned to their positions.
  void project(uint32_t layer, uint32_t rows, uint32_t first_position);
  void append_kv(Sequence& sequence, uint32_t layer, uint32_t rows, uint32_t first_position);
  void attend(const Sequence& sequence, uint32_t layer, uint32_t rows, uint32_t first_position);
  void feed_forward(uint32_t layer, uint32_t rows);
  std::span<const float> hidden_rows(uint32_t rows) const;

  const Model* model_;
  ComputePool* pool_;
  uint32_t chunk_tokens_;
  uint32_t qkv_width_;
  Attention attention_;
  // Each [chunk_tokens][its width].
  FloatBuffer hidden_;
  FloatBuffer normal_;
  FloatBuffer qkv_;
  FloatBuffer attended_;
  FloatBuffer gate_up_;
  FloatBuffer activated_;
  FloatBuffer logits_;
};

}  // namespace baton_engine
