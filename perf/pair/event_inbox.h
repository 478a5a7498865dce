// EventInbox: the events of a Context, waited for by kind. What is not waited for now is kept.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <deque>

#include "baton/context.h"
#include "baton/event.h"

namespace baton_perf {

class EventInbox {
 public:
  // `context` outlives the inbox.
  explicit EventInbox(baton::Context& context) : context_(context) {}

  // From now on the loss of this peer fails every wait with kPeerLost. PeerId(): of none.
  void watch(baton::PeerId peer);
  // The oldest event of that kind. kDeadlineExceeded after timeout_ms; kPeerLost.
  baton::Result<baton::Event> wait(baton::EventKind kind, uint32_t timeout_ms);
  // Takes in what comes within timeout_ms, at most one event.
  void pump(uint32_t timeout_ms);

 private:
  void take(baton::Event event);

  baton::Context& context_;
  baton::PeerId watched_;
  baton::Status lost_;  // why the watched peer is gone; sticky
  std::deque<baton::Event> kept_;
};

}  // namespace baton_perf
