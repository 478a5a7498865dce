#include "src/api/event_queue.h"

#include <chrono>

namespace baton::api {

EventQueue::EventQueue(base::EventFd event_fd, size_t max_messages)
    : event_fd_(std::move(event_fd)), max_messages_(max_messages) {}

bool EventQueue::push(Event event) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (event.kind == EventKind::kMessage) {
      if (num_messages_ == max_messages_) return false;
      ++num_messages_;
    }
    events_.push_back(std::move(event));
  }
  event_fd_.signal();
  arrived_.notify_one();
  return true;
}

std::optional<Event> EventQueue::take_locked() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  if (event.kind == EventKind::kMessage) --num_messages_;
  if (events_.empty()) event_fd_.clear();
  return event;
}

std::optional<Event> EventQueue::take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return take_locked();
}

size_t EventQueue::poll(std::span<Event> out) {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t count = 0;
  while (count < out.size()) {
    std::optional<Event> event = take_locked();
    if (!event.has_value()) break;
    out[count++] = std::move(*event);
  }
  return count;
}

std::optional<Event> EventQueue::wait(int64_t deadline_ns) {
  // steady_clock is CLOCK_MONOTONIC here.
  const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(deadline_ns)};
  std::unique_lock<std::mutex> lock(mutex_);
  arrived_.wait_until(lock, until, [this] { return !events_.empty(); });
  return take_locked();
}

}  // namespace baton::api
