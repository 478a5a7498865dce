// DecodeClient: the decode process. For each request it grants pages to the prefill side, or
// pulls into them what that side offers, and runs its first step while they arrive: layer l waits
// for layer l alone. With tensor-parallel ranks it is rank 0: it has the others do so with theirs,
// and every step is run by all.
//
// Invariants:
//  1. A request's pages are taken, and granted if they are to be, on all ranks, before prefill
//     hears of it, and stay until its Grants or Pulls have ended.
//  2. A failure of any kind, on any rank, ends every request, within the deadline and two seconds.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_compare.h"
#include "examples/reference_engine/engine_generate.h"
#include "examples/reference_engine/engine_messages.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/kv_receiver.h"
#include "examples/reference_engine/rank_team.h"
#include "examples/reference_engine/run_report.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

// What one request came to.
struct Outcome {
  Sequence sequence;  // of this rank, with its KV, for the comparison
  Generation generation;
  HandoffTimes times;
  PrefillRecord prefill;
  std::vector<RankArrivals> arrivals;  // by rank
  std::vector<KvImage> other_kv;       // of ranks from 1 on; empty when it was not asked for
};

// Where a request is given up on purpose.
struct CancelPoint {
  enum Kind : uint8_t {
    kNever,
    kBeforeRequest,  // opened, and prefill never hears of it
    kAfterRequest,   // at once
    kAtLayer,        // when the first step is about to read this layer
  };
  Kind kind = kNever;
  uint32_t layer = 0;
};

// How DecodeClient::run goes about it.
struct DecodeRun {
  HandOff hand_off = HandOff::kPush;
  uint32_t max_new_tokens = 1;
  bool with_kv = false;                   // Outcome::other_kv
  std::vector<CancelPoint> cancels = {};  // by prompt; those without one are not cancelled
};

class DecodeClient {
 public:
  // `node` has its Context open over `pool`; all are borrowed. `team` is null for a side of one.
  DecodeClient(EngineNode& node, KvPool& pool, const EngineOptions& options, Progress& progress,
               RankTeam* team);

  // Connects and makes sure that the other side computes the same bits: kMismatch otherwise.
  baton::Status connect(const std::string& address);
  // True when times of both sides come from one clock.
  bool clock_is_shared() const { return clock_is_shared_; }
  // Ranks of the prefill side. REQUIRES: connected.
  uint32_t prefill_ranks() const { return prefill_ranks_; }

  // Hands all `prompts` to the prefill side at once, then generates for one after the other.
  // Prompts have at least two tokens. Requests that were cancelled on purpose have no Outcome, and
  // their pages are quiet. Errors: of the first request that failed otherwise.
  baton::Result<std::vector<Outcome>> run(const DecodeRun& how,
                                          std::span<const std::vector<uint32_t>> prompts);
  // What prefill of `prompt` takes there with no hand-off.
  baton::Result<PrefillRecord> prefill_alone(const std::vector<uint32_t>& prompt);

 private:
  struct Open {
    Incoming own;
    int64_t requested_ns = 0;
    size_t prompt = 0;  // which of run()'s
  };

  // Opens and asks for one more, unless it is cancelled meanwhile.
  baton::Status ask(const DecodeRun& how, const std::vector<uint32_t>& prompt,
                    const CancelPoint& cancel, std::vector<Open>& open);
  // Takes pages on all ranks.
  baton::Result<Open> open(const OpenRequest& request);
  baton::Result<Outcome> finish(Open& open, const DecodeRun& how,
                                const std::vector<uint32_t>& prompt, const CancelPoint& cancel);
  // One step, on all ranks.
  baton::Result<std::span<const float>> step(Incoming& incoming, uint32_t token,
                                             ForwardHooks* hooks);
  // Why a step failed, from what all ranks say.
  baton::Status explain_step(const baton::Status& own);
  // How the request's KV came to each rank, once its hand-off has ended well.
  baton::Result<std::vector<RankArrivals>> collect_arrivals(const Incoming& own);
  baton::Result<std::vector<KvImage>> collect_kv(uint64_t id);
  // Waits until the record of this request came. kPeerLost, kCancelled, kDeadlineExceeded, or the
  // failure that it reports.
  baton::Result<PrefillRecord> wait_record(uint64_t id);
  // Takes one event, waiting for it at most wait_ms.
  baton::Status pump(uint32_t wait_ms);
  // What ends request `id` early: news of the peer, or its record with a failure.
  baton::Status check(uint64_t id);
  // Ends these requests on all ranks; returns when their pages are quiet.
  void abandon(std::span<Open> open);
  // Waits for the answer kDone of each other rank; the first failure.
  baton::Status wait_done();

  EngineNode& node_;
  const EngineOptions& options_;
  Progress& progress_;
  RankTeam* team_;
  KvReceiver receiver_;
  baton::PeerId peer_;
  bool clock_is_shared_ = true;
  uint32_t prefill_ranks_ = 1;
  uint64_t session_ = 0;
  uint64_t next_id_ = 1;
  RecordReader record_reader_;
  std::set<uint64_t> awaited_;  // requests whose records matter
  std::map<uint64_t, PrefillRecord> records_;
  std::optional<std::vector<uint8_t>> hello_reply_;
};

}  // namespace baton_engine
