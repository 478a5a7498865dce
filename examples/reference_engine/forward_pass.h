// ForwardPass: runs a Model over a Sequence: prompt chunks, then one token at a time.
//
// Every layer is computed in three parts (TensorParts). A tensor-parallel rank computes one of them
// and meets the others twice a layer, to add up the partials of the attention output and of the
// down projection; a process alone computes all three and adds up the same.
//
// Invariants:
//  1. The same tokens, prefilled in chunks of the same size and then decoded, give the same bits of
//     KV, hidden states and logits in every process on one machine, whatever the threads, the
//     blocks that the sequence got, who wrote the pages, and over how many ranks.
//  2. Prefill computes no logits: a prompt of N tokens is N - 1 tokens of prefill, and its last
//     token is the first decode step.
//  3. Each chunk of prefill has 2 * (layers - 1) meetings, a decode step 2 * layers.
//
// Ownership: the model, the pool and the place where ranks meet outlive it. Thread rule: one call
// at a time; several ForwardPasses may share a Model and a ComputePool, each on its own thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/attention.h"
#include "examples/reference_engine/compute_pool.h"
#include "examples/reference_engine/float_buffer.h"
#include "examples/reference_engine/forward_hooks.h"
#include "examples/reference_engine/model.h"
#include "examples/reference_engine/partial_sums.h"
#include "examples/reference_engine/sequence.h"
#include "examples/reference_engine/tensor_parts.h"

namespace baton_engine {

struct ForwardOptions {
  // Rows of a prefill chunk. More rows use the CPU better, fewer hand layers over sooner. Equal on
  // both sides of a comparison, because the bits depend on it.
  uint32_t chunk_tokens = 256;
  // The parts that this rank computes; the model holds them.
  IndexRange parts = kAllParts;
  // Where the ranks meet; room for chunk_tokens rows of the hidden size. Null when `parts` are all.
  PartialSums* sums = nullptr;
};

class ForwardPass {
 public:
  static constexpr uint32_t kMaxChunkTokens = 4096;

  // kInvalidArgument when options.chunk_tokens is not in [1, kMaxChunkTokens].
  static baton::Result<ForwardPass> create(const Model& model, ComputePool& pool,
                                           const ForwardOptions& options);

  // The shape of a KV pool for these parts of this model: layers, kv_heads and head_dim.
  static KvShape kv_shape(const ModelConfig& config, const IndexRange& parts = kAllParts);

  // Appends the KV of `tokens` after those that `sequence` holds, chunk by chunk. `hooks` may be
  // null. No tokens: nothing happens. kOutOfRange past the sequence's capacity or the model's
  // context; kInvalidArgument for a token that is none or a pool of another shape; the errors of
  // PartialSums::meet. After an error of a hook or of a meeting the sequence keeps the length of
  // the chunks that ended.
  baton::Status prefill(Sequence& sequence, std::span<const uint32_t> tokens, ForwardHooks* hooks);

  // Appends one token. Errors as above; after one the sequence is as before.
  baton::Status step(Sequence& sequence, uint32_t token, ForwardHooks* hooks);
  // step(), and the logits of the next token, [vocabulary], valid until the next call.
  baton::Result<std::span<const float>> decode(Sequence& sequence, uint32_t token,
                                               ForwardHooks* hooks);

 private:
  // What this rank needs for one of its parts. Each buffer is [chunk_tokens][its width].
  struct Part {
    uint32_t index = 0;
    TensorPart cut;
    IndexRange stored_kv_heads;  // those that no earlier part here stores
    uint32_t query_width = 0;
    uint32_t kv_width = 0;
    FloatBuffer query, key, value, attended, gate_up, activated;
  };
  enum class Sum : uint8_t { kAttention, kFeedForward };

  ForwardPass(const Model& model, ComputePool& pool, const ForwardOptions& options);

  baton::Status check(const Sequence& sequence, std::span<const uint32_t> tokens) const;
  baton::Status prefill_chunk(Sequence& sequence, std::span<const uint32_t> tokens,
                              const Chunk& chunk, ForwardHooks* hooks);
  void embed(std::span<const uint32_t> tokens);
  void normalize(uint32_t rows, std::span<const float> weight);
  // Query, key and value rows, turned to their positions.
  void project(uint32_t layer, uint32_t rows, uint32_t first_position);
  void turn(Part& part, uint32_t row, uint32_t position);
  void append_kv(Sequence& sequence, uint32_t layer, uint32_t rows, uint32_t first_position);
  baton::Status attend(const Sequence& sequence, uint32_t layer, uint32_t rows,
                       uint32_t first_position);
  baton::Status feed_forward(uint32_t layer, uint32_t rows);
  // Meets the other ranks, and adds the partials of all parts to the hidden states.
  baton::Status add_up(Sum sum, uint32_t rows);
  std::span<const float> hidden_rows(uint32_t rows) const;

  const Model* model_;
  ComputePool* pool_;
  uint32_t chunk_tokens_;
  IndexRange held_;
  std::vector<Part> parts_;
  std::unique_ptr<PartialSums> own_sums_;
  PartialSums* sums_;
  Attention attention_;
  FloatBuffer hidden_;  // [chunk_tokens][hidden]
  FloatBuffer normal_;  // the same
  FloatBuffer logits_;
};

}  // namespace baton_engine
