// DecodeClient: the decode process. For each request it grants pages to the prefill process, and
// runs its first step while they arrive: layer l waits for layer l alone.
//
// Invariants:
//  1. A request's pages are granted before prefill hears of it, and stay until its Grant has ended.
//  2. A failure of any kind ends every request, within the deadline and two seconds.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_generate.h"
#include "examples/reference_engine/engine_messages.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/run_report.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

// What one request came to.
struct Outcome {
  Sequence sequence;  // with its KV, for the comparison
  Generation generation;
  HandoffTimes times;
  PrefillRecord prefill;
};

class GateHooks;

class DecodeClient {
 public:
  // `node` has its Context open over `pool`; all are borrowed.
  DecodeClient(EngineNode& node, KvPool& pool, const EngineOptions& options, Progress& progress)
      : node_(node), pool_(pool), options_(options), progress_(progress) {}

  // Connects and makes sure that the other side computes the same bits: kMismatch otherwise.
  baton::Status connect(const std::string& address);
  // True when times of both sides come from one clock.
  bool clock_is_shared() const { return clock_is_shared_; }

  // Hands all `prompts` to the prefill side at once, then generates for one after the other.
  // Prompts have at least two tokens. Errors: of the first request that failed.
  baton::Result<std::vector<Outcome>> run(HandOff hand_off,
                                          std::span<const std::vector<uint32_t>> prompts,
                                          uint32_t max_new_tokens);
  // What prefill of `prompt` takes there with no hand-off.
  baton::Result<PrefillRecord> prefill_alone(const std::vector<uint32_t>& prompt);

 private:
  struct Open {
    uint64_t id = 0;
    std::optional<Sequence> sequence;
    baton::Grant grant;
    int64_t requested_ns = 0;
  };

  baton::Result<Open> ask(HandOff hand_off, const std::vector<uint32_t>& prompt,
                          uint32_t max_new_tokens);
  baton::Result<Outcome> finish(Open& open, HandOff hand_off, const std::vector<uint32_t>& prompt,
                                uint32_t max_new_tokens);
  // Waits until the record of this request came. kPeerLost, kCancelled, kDeadlineExceeded, or the
  // failure that it reports.
  baton::Result<PrefillRecord> wait_record(uint64_t id);
  // Takes one event, waiting for it at most wait_ms.
  baton::Status pump(uint32_t wait_ms);
  // What ends request `id` early: news of the peer, or its record with a failure.
  baton::Status check(uint64_t id);
  // Ends these requests; returns when their pages are quiet.
  void abandon(std::vector<Open>& open);

  friend class GateHooks;

  EngineNode& node_;
  KvPool& pool_;
  const EngineOptions& options_;
  Progress& progress_;
  baton::PeerId peer_;
  bool clock_is_shared_ = true;
  uint64_t next_id_ = 1;
  RecordReader record_reader_;
  std::map<uint64_t, PrefillRecord> records_;
  std::optional<std::vector<uint8_t>> hello_reply_;
};

}  // namespace baton_engine
