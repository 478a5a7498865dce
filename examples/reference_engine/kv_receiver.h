// KvReceiver: how one process of the decode side gets the KV heads that it holds from the prefill
// ranks that own some of them. Pushed: a group of Grants, one of each such rank, whose Gate of a
// layer opens when all have sent it. Pulled: a Pull of each, once it offers.
//
// Invariants:
//  1. A request's pages stay until all its Grants or Pulls have ended.
//  2. Every wait ends, within the deadline and two seconds and a bit.
//
// Ownership: borrows the node and its pool, which outlive it. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/forward_hooks.h"
#include "examples/reference_engine/kv_pulls.h"
#include "examples/reference_engine/rank_messages.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

// The message of the kCancelled by which ArrivalHooks::cancel_at ends a step.
inline constexpr const char* kCancelledOnPurpose = "cancelled on purpose";

// One request's KV on its way.
struct Incoming {
  OpenRequest request;
  std::optional<Sequence> sequence;
  baton::GrantGroup grants;        // pushed
  std::shared_ptr<KvPulls> pulls;  // pulled
  std::vector<int64_t> seen_ns;    // per layer: the first step's attention passed its gates
};

class KvReceiver {
 public:
  KvReceiver(EngineNode& node, KvPool& pool, const EngineOptions& options);

  // Connects to those prefill ranks that own heads held here, and says who reads. `first` is
  // rank 0's, when it is connected already.
  baton::Status connect(const RankConnect& connect, baton::PeerId first = {});
  // As Context::connect, but kPeerLost when nobody is there, which to a user is the same as gone.
  baton::Result<baton::PeerId> dial(const std::string& address);

  // Takes pages, and grants them or waits for offers to read. The sequence has the length that it
  // will have when all has come.
  baton::Result<Incoming> open(const OpenRequest& request);
  // Begins the Pulls of open requests that were offered meanwhile; prefill does not wait for the
  // requests before them. Call now and then; wait_layer() does, too.
  void take_offers();
  // Waits until `layer` is here. `check` is called now and then; its error ends the wait.
  baton::Status wait_layer(const Incoming& incoming, uint32_t layer,
                           const std::function<baton::Status()>& check);
  // Waits until all Grants or Pulls have ended; OK when they did so well.
  baton::Status wait_end(const Incoming& incoming) const;
  // Begins to end the hand-off early.
  static void cancel(Incoming& incoming, const std::string& reason);

  // When each layer came, from its last writer. Complete after wait_end().
  static RankArrivals arrivals(const Incoming& incoming);

 private:
  struct Writer {
    uint32_t rank = 0;
    baton::PeerId peer;
  };

  baton::Status grant(Incoming& incoming, std::vector<uint32_t> blocks);
  void await_offers(Incoming& incoming, std::vector<uint32_t> blocks);

  EngineNode& node_;
  KvPool& pool_;
  const EngineOptions& options_;
  IndexRange held_heads_;
  std::vector<Writer> writers_;
  std::vector<std::weak_ptr<KvPulls>> pulls_;  // of open requests
};

// Lets a request's first decode step pass each layer as its KV arrives, and notes when.
class ArrivalHooks final : public ForwardHooks {
 public:
  ArrivalHooks(KvReceiver& receiver, Incoming& incoming, std::function<baton::Status()> check)
      : receiver_(receiver), incoming_(incoming), check_(std::move(check)) {}

  // Gives the step up before this layer, on purpose.
  void cancel_at(uint32_t layer) { cancel_layer_ = layer; }
  baton::Status before_layer_attention(uint32_t layer) override;

 private:
  KvReceiver& receiver_;
  Incoming& incoming_;
  std::function<baton::Status()> check_;
  std::optional<uint32_t> cancel_layer_;
};

}  // namespace baton_engine
