// EventQueue: what happened and nobody has polled yet, with a descriptor that polls readable
// meanwhile.
//
// Invariants:
//  1. What waits is bounded, whether anybody polls or not, and whatever peers do: ends of requests,
//     and comings and goings of peers, by the limit each, the oldest making room; messages by the
//     limit, one more being refused; offers by the offers that stand, since an offer's event is
//     withdrawn with it.
//  2. Nothing is lost silently: kEventsLost comes before what is left.
//  3. Those that are left come in the order in which they were pushed.
//  4. The descriptor is readable exactly while an event waits, to whoever holds the lock.
//
// Thread rule: thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>

#include "baton/event.h"
#include "baton/status.h"
#include "src/base/event_fd.h"
#include "src/base/metrics.h"

namespace baton::api {

class EventQueue {
 public:
  // `limit`: of messages, of ends, and of comings and goings, each.
  EventQueue(base::EventFd event_fd, size_t limit);

  // The event's number. Nothing when it is a message too many; it is then dropped.
  [[nodiscard]] std::optional<uint64_t> push(Event event);
  // Takes an event back that nobody has polled yet; of others nothing is left to take.
  void withdraw(uint64_t number);
  size_t poll(std::span<Event> out);
  std::optional<Event> take();
  // Blocks until an event waits or CLOCK_MONOTONIC `deadline_ns`.
  std::optional<Event> wait(int64_t deadline_ns);
  int fd() const { return event_fd_.fd(); }
  // Events given up since the start.
  uint64_t lost_in_all() const { return lost_in_all_.value(); }

 private:
  // Events of one sort, by number.
  using Line = std::map<uint64_t, Event>;

  Line& line_of(EventKind kind);
  bool is_empty() const;
  std::optional<Event> take_locked();

  const base::EventFd event_fd_;
  const size_t limit_;
  base::Count lost_in_all_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  // Guarded by mutex_.
  Line messages_;
  Line offers_;
  Line ends_;
  Line peers_;
  uint64_t last_number_ = 0;
  uint64_t lost_ = 0;  // since kEventsLost was delivered last
};

}  // namespace baton::api
