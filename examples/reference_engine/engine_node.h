// EngineNode: what each engine process has: a model, its compute threads, a paged KV pool and a
// forward pass; and, to hand KV over, a Baton Context with the pool registered and published.
//
// Ownership: owns all of it. Thread rule: one thread drives it; Baton's own threads run beside.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "baton/context.h"
#include "baton/status.h"
#include "examples/reference_engine/compute_pool.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/forward_pass.h"
#include "examples/reference_engine/kv_pool.h"
#include "examples/reference_engine/model.h"

namespace baton_engine {

// The name under which both sides publish their cache.
inline constexpr const char* kCacheName = "kv";

// Of a pool that an EngineNode makes.
struct NodePool {
  uint32_t block_tokens = 0;
  uint64_t blocks = 0;
  bool poison = false;  // fill what nobody wrote with 0xff
  IndexRange parts = kAllParts;
  KvOrder order = KvOrder::kNhd;
};

class EngineNode {
 public:
  // Loads these parts of the model, showing progress. Errors as load_model().
  static baton::Result<std::unique_ptr<EngineNode>> create(const EngineOptions& options,
                                                           Progress& progress,
                                                           const IndexRange& parts = kAllParts);

  // From here to leave_ranks() rank_forward() computes these parts and meets the other ranks in
  // `sums`, which is borrowed.
  baton::Status join_ranks(const IndexRange& parts, PartialSums& sums);
  void leave_ranks() { rank_forward_.reset(); }

  // A pool of the options' dtype for this model.
  baton::Result<KvPool> make_pool(const NodePool& pool) const;

  // Opens the Context, registers `pool` (which outlives the node's Context) and publishes of it the
  // KV heads [heads.first, heads.end()) of the model; `held` are all that the pool has. No heads:
  // no cache. REQUIRES: a pool of which only some heads are published is of order HND.
  baton::Status open_context(baton::ContextOptions context_options, KvPool& pool,
                             const IndexRange& held, const IndexRange& heads);
  // Ends the Context; `pool` is the caller's again. Idempotent.
  void close_context();

  const Model& model() const { return *model_; }
  // All parts. REQUIRES: created with them.
  ForwardPass& forward() { return *forward_; }
  // What this process computes of a request that is handed over: after join_ranks(), a rank's part.
  ForwardPass& rank_forward() { return rank_forward_ ? *rank_forward_ : *forward_; }
  uint32_t threads() const { return compute_.threads(); }
  // REQUIRES of both: open_context().
  baton::Context& context() { return *context_; }
  const baton::KvCache& cache() const { return cache_; }

  // A text that is equal on two sides that may exchange KV and get the same bits.
  std::string fingerprint() const;

 private:
  explicit EngineNode(const EngineOptions& options)
      : options_(options), compute_(options.threads) {}

  EngineOptions options_;
  ComputePool compute_;
  std::unique_ptr<Model> model_;
  std::optional<ForwardPass> forward_;
  std::optional<ForwardPass> rank_forward_;
  std::optional<baton::Context> context_;
  baton::Section section_;
  baton::KvCache cache_;
};

}  // namespace baton_engine
