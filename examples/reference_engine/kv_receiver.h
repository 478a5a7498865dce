// KvReceiver: how one process of the decode side gets the KV heads that it holds: a group of
// Grants, one for each prefill rank that owns some of them, whose Gate of a layer opens when all
// have sent it.
//
// Invariants:
//  1. A request's pages stay until all its Grants have ended.
//  2. Every wait ends, within the deadline and two seconds and a bit.
//
// Ownership: borrows the node and its pool, which outlive it. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/forward_hooks.h"
#include "examples/reference_engine/rank_messages.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

// A Grant ends this long after its deadline at the latest; then a bit for the slices of waits.
inline constexpr uint32_t kEndsAfterMs = 2500;

// The message of the kCancelled by which ArrivalHooks::cancel_at ends a step.
inline constexpr const char* kCancelledOnPurpose = "cancelled on purpose";

// One request's KV on its way.
struct Incoming {
  OpenRequest request;
  std::optional<Sequence> sequence;
  baton::GrantGroup grants;
  std::vector<int64_t> seen_ns;  // per layer: the first step's attention passed its gates
};

class KvReceiver {
 public:
  KvReceiver(EngineNode& node, KvPool& pool, const EngineOptions& options);

  // Connects to the prefill ranks, by their addresses in order, that own heads held here.
  // `first` is rank 0's, when it is connected already.
  baton::Status connect(const std::vector<std::string>& addresses, baton::PeerId first = {});
  // As Context::connect, but kPeerLost when nobody is there, which to a user is the same as gone.
  baton::Result<baton::PeerId> dial(const std::string& address);

  // Takes pages and grants them. The sequence has the length that it will have when all has come.
  baton::Result<Incoming> open(const OpenRequest& request);
  // Waits until `layer` is here. `check` is called now and then; its error ends the wait.
  baton::Status wait_layer(const Incoming& incoming, uint32_t layer,
                           const std::function<baton::Status()>& check) const;
  // Waits until all Grants have ended; OK when they did so well.
  baton::Status wait_end(const Incoming& incoming) const;
  // Begins to end the Grants early.
  static void cancel(Incoming& incoming, const std::string& reason);

  // When each layer came, from its last writer. Complete after wait_end().
  static RankArrivals arrivals(const Incoming& incoming);

 private:
  struct Writer {
    uint32_t rank = 0;
    baton::PeerId peer;
  };

  EngineNode& node_;
  KvPool& pool_;
  const EngineOptions& options_;
  IndexRange held_heads_;
  std::vector<Writer> writers_;
};

// Lets a request's first decode step pass each layer as its KV arrives, and notes when.
class ArrivalHooks final : public ForwardHooks {
 public:
  ArrivalHooks(const KvReceiver& receiver, Incoming& incoming, std::function<baton::Status()> check)
      : receiver_(receiver), incoming_(incoming), check_(std::move(check)) {}

  // Gives the step up before this layer, on purpose.
  void cancel_at(uint32_t layer) { cancel_layer_ = layer; }
  baton::Status before_layer_attention(uint32_t layer) override;

 private:
  const KvReceiver& receiver_;
  Incoming& incoming_;
  std::function<baton::Status()> check_;
  std::optional<uint32_t> cancel_layer_;
};

}  // namespace baton_engine
