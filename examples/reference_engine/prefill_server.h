// PrefillServer: the prefill process. It computes one request at a time and hands its KV to the
// decode process that asked, layer by layer while it computes; several hand-offs may be in flight.
//
// Invariants:
//  1. The pages of a request go back to the pool on its Transfer's terminal state, never before.
//  2. Each request is answered by one PrefillRecord, unless its peer is gone. Its messages leave in
//     order, with none of another record between them.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_messages.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

class PrefillServer {
 public:
  // `node` has its Context open over `pool`; all are borrowed.
  PrefillServer(EngineNode& node, KvPool& pool, const EngineOptions& options, Progress& progress)
      : node_(node), pool_(pool), options_(options), progress_(progress) {}

  // Serves until interrupted (OK) or, with options.once, until the first peer is gone: OK when
  // nothing of its was under way, else kPeerLost.
  baton::Status serve();

 private:
  struct Job {
    baton::PeerId peer;
    PrefillRequest request;
  };
  // A request whose prefill is done and whose bytes may still fly.
  struct Sending {
    baton::PeerId peer;
    Sequence sequence;
    baton::Transfer transfer;
    PrefillRecord record;
  };
  // A message of a record.
  struct Outgoing {
    baton::PeerId peer;
    uint64_t tag = 0;
    std::vector<uint8_t> bytes;
  };

  // Handles the events that wait; with nothing to do, waits for one.
  baton::Status handle_events();
  void handle(const baton::Event& event);
  void on_message(const baton::Event& event);
  void on_transfer_ended(const baton::Event& event);
  void on_peer_down(const baton::Event& event);

  // False: it waits until pages come back.
  bool start(const Job& job);
  baton::Status run(const Job& job, Sequence sequence, PrefillRecord& record);
  // The Grant that goes with a request. Ends early when its peer is gone.
  baton::Result<baton::GrantOffer> wait_offer(const Job& job);
  baton::Status compute(const Job& job, Sequence& sequence, baton::Transfer* transfer,
                        PrefillRecord& record);
  // Tells Baton of one layer after the other, with a pause after each.
  baton::Status hand_over_paced(const Job& job, baton::Transfer& transfer, PrefillRecord& record);
  void answer(baton::PeerId peer, const PrefillRecord& record);
  // Sends what the peers have room for; the rest waits for the next turn.
  void send_outbox();

  EngineNode& node_;
  KvPool& pool_;
  const EngineOptions& options_;
  Progress& progress_;
  std::deque<Job> queue_;
  std::list<Sending> sending_;
  std::deque<Outgoing> outbox_;
  bool lacks_pages_ = false;  // the queue's first waits for a Transfer to end
  bool peer_gone_ = false;
  bool peer_gone_early_ = false;  // with work of its under way
};

}  // namespace baton_engine
