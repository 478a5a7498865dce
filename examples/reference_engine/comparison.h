// Comparison: the same prompts by one process alone and by a prefill and a decode process, and how
// the two differ.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/decode_client.h"
#include "examples/reference_engine/engine_generate.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/kv_pool.h"
#include "examples/reference_engine/run_report.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

// One request by one process alone.
struct MonolithicRun {
  Sequence sequence;
  Generation generation;
  int64_t begin_ns = 0;
  int64_t prefill_ns = 0;
};

baton::Result<MonolithicRun> run_monolithic(EngineNode& node, KvPool& pool,
                                            const std::vector<uint32_t>& prompt,
                                            uint32_t max_new_tokens, Progress& progress);

class Comparison {
 public:
  // `prompts` holds one per request, the first as the user gave it. All are borrowed.
  Comparison(EngineNode& node, const EngineOptions& options,
             const std::vector<std::vector<uint32_t>>& prompts, Progress& progress)
      : node_(node), options_(options), prompts_(prompts), progress_(progress) {}

  // The whole of it, against the prefill process at `address`.
  baton::Status run(const std::string& address);
  // Complete after run() succeeded, unless options.hand_offs.
  const RunReport& report() const { return report_; }
  // With options.hand_offs: how far it came, however run() ended; empty when it did not begin.
  const std::string& soak_summary() const { return soak_summary_; }
  bool is_equal() const { return options_.hand_offs > 0 ? soak_is_equal_ : report_.equal(); }

 private:
  baton::Status run_alone();
  // All of it that is handed over, in a side of `team` (null: this process alone).
  baton::Status run_side(const std::string& address, RankTeam* team);
  // One hand-off of the first prompt, up to the first token; its pages are free again.
  baton::Result<HandoffTimes> measure(DecodeClient& client, HandOff hand_off);
  // Prefill alone and with push, side by side; which comes first takes turns.
  baton::Status measure_prefill(DecodeClient& client, bool push_first, RunRound& round);
  baton::Status run_rounds(DecodeClient& client);
  baton::Status run_handed_over(DecodeClient& client);
  baton::Status run_soak(DecodeClient& client);
  // True when nothing differs.
  bool compare(size_t request, const Outcome& outcome);
  void add_ranks(const Outcome& outcome);
  Generated generated(const Generation& generation) const;

  EngineNode& node_;
  const EngineOptions& options_;
  const std::vector<std::vector<uint32_t>>& prompts_;
  Progress& progress_;
  std::vector<KvPool> alone_pool_;  // at most one
  std::vector<MonolithicRun> alone_;
  RunReport report_;
  std::string soak_summary_;
  bool soak_is_equal_ = false;
};

}  // namespace baton_engine
