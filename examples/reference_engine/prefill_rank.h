// PrefillRank: what one process of the prefill side does for a request: it computes its part, in
// step with the other ranks, and hands the KV heads that it owns to every decode rank that holds
// some of them, layer by layer while it computes: it answers their Grants, or offers them to read.
// Several hand-offs may be in flight.
//
// Invariants:
//  1. The pages of a request go back to the pool when its last hand-off has ended, never before.
//  2. Each job that start() took comes out of take_finished() once.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_messages.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/outgoing.h"
#include "examples/reference_engine/rank_group.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

struct PrefillJob {
  uint64_t key = 0;    // running number, the same on all ranks
  baton::PeerId peer;  // who asked; none on ranks that were told by their leader
  PrefillRequest request;
};

class PrefillRank {
 public:
  struct Finished {
    uint64_t key = 0;
    PrefillRecord record;
  };

  // True when nobody wants the job any more. Called while a job waits for its decode
  // ranks, and when it was computed; takes the events of the Context that have come.
  using IsWithdrawn = std::function<bool(const PrefillJob& job)>;

  // `node` has its Context open over `pool`; all are borrowed. `group` is null for a side of one,
  // `is_withdrawn` may be empty.
  PrefillRank(EngineNode& node, KvPool& pool, const EngineOptions& options, Progress& progress,
              RankGroup* group, IsWithdrawn is_withdrawn = nullptr);

  // Computes. False: it took nothing, and waits until pages come back. Errors are those of the
  // group, after which no request can be computed any more; all else is in the record.
  baton::Result<bool> start(const PrefillJob& job);
  // Every event of the node's Context. True: pages may have come back.
  bool on_event(const baton::Event& event);
  // Nobody takes up what the job offers any more.
  void withdraw(uint64_t key);
  std::vector<Finished> take_finished();

  // Hand-offs are under way.
  bool is_sending() const { return !sending_.empty(); }

 private:
  // A request whose bytes may still fly.
  struct Sending {
    PrefillJob job;
    Sequence sequence;
    std::vector<Outgoing> hand_offs;
    PrefillRecord record;
  };

  // One hand-off with each decode rank that holds heads of this one.
  baton::Status open_hand_offs(Sending& sending);
  baton::Result<Outgoing> push_to(const Sending& sending, uint32_t decode_rank);
  baton::Result<Outgoing> offer_to(const Sending& sending, uint32_t decode_rank);
  // Until the decode rank has granted, or said who it is.
  baton::Result<baton::GrantOffer> wait_offer(const PrefillJob& job, uint32_t decode_rank);
  baton::Result<baton::PeerId> wait_reader(const PrefillJob& job, uint32_t decode_rank);
  // Why there is nothing to wait for any more.
  baton::Status check_wanted(const PrefillJob& job) const;
  baton::Status compute(Sending& sending);
  // Tells Baton of one layer after the other, with a pause after each.
  baton::Status hand_over_paced(Sending& sending);
  baton::Status seal(Sending& sending);
  // Those of which all hand-offs have ended; false: there are none.
  bool finish_ended();
  void finish(Sending& sending, const baton::Status& status);

  EngineNode& node_;
  KvPool& pool_;
  const EngineOptions& options_;
  Progress& progress_;
  RankGroup* group_;
  IsWithdrawn is_withdrawn_;
  IndexRange owned_heads_;
  std::map<ReaderName, baton::PeerId> readers_;
  std::list<Sending> sending_;
  std::vector<Finished> finished_;
};

}  // namespace baton_engine
