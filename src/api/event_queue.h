// EventQueue: what happened and nobody has polled yet, with a descriptor that polls readable
// meanwhile.
//
// Invariants: events of requests are never refused (live requests bound them); messages of peers
// are, past the limit.
//
// Thread rule: thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>

#include "baton/event.h"
#include "baton/status.h"
#include "src/base/event_fd.h"

namespace baton::api {

class EventQueue {
 public:
  // `max_messages`: events of kind kMessage that may wait.
  EventQueue(base::EventFd event_fd, size_t max_messages);

  // False when it is a message too many; it is then dropped.
  [[nodiscard]] bool push(Event event);
  size_t poll(std::span<Event> out);
  std::optional<Event> take();
  // Blocks until an event waits or CLOCK_MONOTONIC `deadline_ns`.
  std::optional<Event> wait(int64_t deadline_ns);
  int fd() const { return event_fd_.fd(); }

 private:
  std::optional<Event> take_locked();

  const base::EventFd event_fd_;
  const size_t max_messages_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Event> events_;  // guarded by mutex_
  size_t num_messages_ = 0;   // guarded by mutex_
};

}  // namespace baton::api
