// Inbox: how much of one peer's word waits for the data thread. The control thread takes a room for
// each message before it passes it on; the room goes back when the message does.
//
// Invariant: at most kMaxMessages rooms, and kMaxBytes unless there is one only, are out at a time.
//
// Thread rule: take() by one thread; rooms are given back by any.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "src/wire/messages.h"

namespace baton::handoff {

class Inbox {
 public:
  static constexpr size_t kMaxMessages = 65536;
  static constexpr size_t kMaxBytes = 4 * wire::kMaxMessageBytes;

  // A message's place. Empty when moved from or made by default. Keeps its Inbox alive.
  class Room {
   public:
    Room() = default;
    Room(Room&& other) noexcept
        : inbox_(std::move(other.inbox_)), bytes_(std::exchange(other.bytes_, 0)) {}
    Room& operator=(Room&& other) noexcept {
      std::swap(inbox_, other.inbox_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Room();

   private:
    friend class Inbox;
    Room(std::shared_ptr<Inbox> inbox, size_t bytes) : inbox_(std::move(inbox)), bytes_(bytes) {}
    std::shared_ptr<Inbox> inbox_;
    size_t bytes_ = 0;
  };

  // Nothing when the Inbox is full. A message that finds it empty always has room.
  static std::optional<Room> take(const std::shared_ptr<Inbox>& inbox,
                                  const wire::Message& message);

  size_t messages() const { return messages_.load(std::memory_order_relaxed); }
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  // Relaxed throughout: they bound, and carry nothing.
  std::atomic<size_t> messages_{0};
  std::atomic<size_t> bytes_{0};
};

// About what a message holds in memory.
size_t held_bytes(const wire::Message& message);
size_t held_bytes(const wire::GrantOffer& offer);

}  // namespace baton::handoff
