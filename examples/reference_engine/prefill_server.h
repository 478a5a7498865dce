// PrefillServer: the prefill process. It takes requests one at a time, has each computed and handed
// over by its ranks, itself among them, and answers with a record; several hand-offs may be in
// flight.
//
// Invariants:
//  1. Each request is answered by one PrefillRecord, unless its peer is gone. Its messages leave in
//     order, with none of another record between them.
//  2. All ranks are told of the same requests in the same order.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_messages.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/prefill_rank.h"
#include "examples/reference_engine/rank_team.h"

namespace baton_engine {

class PrefillServer {
 public:
  // `node` has its Context open over `pool`; all are borrowed. `team` is null for a side of one.
  PrefillServer(EngineNode& node, KvPool& pool, const EngineOptions& options, Progress& progress,
                RankTeam* team)
      : node_(node),
        options_(options),
        progress_(progress),
        team_(team),
        own_(node, pool, options, progress, team != nullptr ? &team->sums() : nullptr,
             [this](const PrefillJob& job) { return is_withdrawn(job); }) {
    // A rank may wait for the decode rank of a request that is withdrawn meanwhile.
    if (team_ != nullptr) team_->call_while_waiting([this] { take_events(); });
  }
  PrefillServer(const PrefillServer&) = delete;
  PrefillServer& operator=(const PrefillServer&) = delete;
  ~PrefillServer() {
    if (team_ != nullptr) team_->call_while_waiting(nullptr);
  }

  // Serves until interrupted (OK) or, with options.once, until the first peer is gone: OK when
  // nothing of its was under way, else kPeerLost. kPeerLost, too, when a rank is gone.
  baton::Status serve();

 private:
  // A request that some rank has not reported on.
  struct Asked {
    PrefillJob job;
    std::vector<std::optional<PrefillRecord>> records;  // by rank
    bool is_withdrawn = false;
  };
  // A message of a record.
  struct Outgoing {
    baton::PeerId peer;
    uint64_t tag = 0;
    std::vector<uint8_t> bytes;
  };

  // Handles what waits; with nothing to do, waits for something.
  void handle_events();
  // Handles some events; false: there were none.
  bool take_events();
  // Until an event, a message of a rank, or a moment has passed.
  void wait_for_something();
  void handle(const baton::Event& event);
  void on_message(const baton::Event& event);
  void on_withdrawal(const baton::Event& event);
  void on_peer_down(const baton::Event& event);
  // Its ranks need not wait for its decode ranks.
  void withdraw(uint64_t key, Asked& asked);
  // Handles what has come meanwhile, too.
  bool is_withdrawn(const PrefillJob& job);
  baton::Status handle_ranks();

  bool may_start() const { return !queue_.empty() && !lacks_pages_; }
  baton::Status start_next();
  void take_record(uint64_t key, uint32_t rank, PrefillRecord record);
  bool is_busy_for(baton::PeerId peer) const;
  void answer(baton::PeerId peer, const PrefillRecord& record);
  // Sends what the peers have room for; the rest waits for the next turn.
  void send_outbox();

  EngineNode& node_;
  const EngineOptions& options_;
  Progress& progress_;
  RankTeam* team_;
  PrefillRank own_;
  std::deque<PrefillJob> queue_;
  bool front_was_told_ = false;  // the ranks know of the queue's first
  std::map<uint64_t, Asked> asked_;
  std::deque<Outgoing> outbox_;
  uint64_t next_key_ = 1;
  bool lacks_pages_ = false;  // the queue's first waits for a Transfer to end
  bool peer_gone_ = false;
  bool peer_gone_early_ = false;  // with work of its under way
};

}  // namespace baton_engine
