#include "perf/pair/event_inbox.h"

#include <algorithm>
#include <string>
#include <utility>

#include "perf/lib/clock.h"

namespace baton_perf {

using baton::Event;
using baton::EventKind;
using baton::Result;
using baton::Status;
using baton::StatusCode;

void EventInbox::watch(baton::PeerId peer) {
  watched_ = peer;
  lost_ = Status::ok();
}

Result<Event> EventInbox::wait(EventKind kind, uint32_t timeout_ms) {
  const auto kept = std::find_if(kept_.begin(), kept_.end(),
                                 [&](const Event& event) { return event.kind == kind; });
  if (kept != kept_.end()) {
    Event event = std::move(*kept);
    kept_.erase(kept);
    return event;
  }
  const int64_t deadline_ns = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  while (lost_.is_ok()) {
    const int64_t left_ms = std::max<int64_t>((deadline_ns - monotonic_ns()) / 1'000'000, 0);
    Result<Event> event = context_.wait_event(static_cast<uint32_t>(left_ms));
    if (!event.is_ok()) return event.status();
    if (event->kind == kind) return event;
    take(std::move(*event));
  }
  return lost_;
}

void EventInbox::take(Event event) {
  if (event.kind != EventKind::kPeerDown) {
    kept_.push_back(std::move(event));
  } else if (watched_ && event.peer == watched_) {
    lost_ = Status(StatusCode::kPeerLost, "the peer is gone: " + event.status.message());
  }
}

void EventInbox::pump(uint32_t timeout_ms) {
  Result<Event> event = context_.wait_event(timeout_ms);
  if (event.is_ok()) take(std::move(*event));
}

}  // namespace baton_perf
