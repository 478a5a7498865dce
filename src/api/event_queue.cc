#include "src/api/event_queue.h"

#include <chrono>
#include <utility>

namespace baton::api {

EventQueue::EventQueue(base::EventFd event_fd, size_t limit)
    : event_fd_(std::move(event_fd)), limit_(limit) {}

EventQueue::Line& EventQueue::line_of(EventKind kind) {
  switch (kind) {
    case EventKind::kMessage:
      return messages_;
    case EventKind::kGrantOffered:
      return offers_;
    case EventKind::kGrantEnded:
    case EventKind::kTransferEnded:
    case EventKind::kGrantGroupEnded:
      return ends_;
    case EventKind::kPeerUp:
    case EventKind::kPeerDown:
    case EventKind::kEventsLost:
      break;
  }
  return peers_;
}

bool EventQueue::is_empty() const {
  return lost_ == 0 && messages_.empty() && offers_.empty() && ends_.empty() && peers_.empty();
}

std::optional<uint64_t> EventQueue::push(Event event) {
  uint64_t number = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Line& line = line_of(event.kind);
    if (&line != &offers_ && line.size() >= limit_) {
      if (&line == &messages_) return std::nullopt;
      line.erase(line.begin());
      ++lost_;
      lost_in_all_.add();
    }
    number = ++last_number_;
    line.emplace(number, std::move(event));
    // With the lock held: a signal after the last event was taken would be cleared by nobody.
    event_fd_.signal();
  }
  arrived_.notify_one();
  return number;
}

void EventQueue::withdraw(uint64_t number) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (Line* line : {&offers_, &messages_, &ends_, &peers_}) line->erase(number);
  if (is_empty()) event_fd_.clear();
}

std::optional<Event> EventQueue::take_locked() {
  std::optional<Event> event;
  if (lost_ > 0) {
    event.emplace();
    event->kind = EventKind::kEventsLost;
    event->tag_number = std::exchange(lost_, 0u);
  } else {
    Line* oldest = nullptr;
    for (Line* line : {&messages_, &offers_, &ends_, &peers_}) {
      if (line->empty()) continue;
      if (oldest == nullptr || line->begin()->first < oldest->begin()->first) oldest = line;
    }
    if (oldest == nullptr) return std::nullopt;
    event = std::move(oldest->begin()->second);
    oldest->erase(oldest->begin());
  }
  if (is_empty()) event_fd_.clear();
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
  arrived_.wait_until(lock, until, [this] { return !is_empty(); });
  return take_locked();
}

}  // namespace baton::api
