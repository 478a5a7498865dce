// BoundedQueue: a ring of fixed capacity between threads. Never blocks, never allocates after
// construction.
//
// Any number of producers and consumers. Elements of one producer come out in the order in which it
// pushed them. A producer that is stopped between taking a cell and filling it holds back the
// elements behind it: try_pop() then says "empty" until it goes on.
//
// Source: D. Vyukov, "Bounded MPMC queue". Each cell carries a sequence number: equal to the
// position when the cell is free for that position's push, position + 1 when it is filled, position
// + capacity when it is free for the next lap.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "src/base/assert.h"

namespace baton::base {

// Two of x86's cache lines: the adjacent-line prefetcher pairs them.
inline constexpr size_t kCacheLinePadBytes = 128;

// Thread rule: try_push, try_pop and size_hint from any thread; construction and destruction alone.
template <typename T>
class BoundedQueue {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>);

 public:
  // REQUIRES: capacity is a power of two and at least 2.
  explicit BoundedQueue(size_t capacity)
      : mask_(capacity - 1), cells_(std::make_unique<Cell[]>(capacity)) {
    BATON_ASSERT(capacity >= 2 && std::has_single_bit(capacity), "capacity is a power of two >= 2");
    // Relaxed: whoever hands the queue to other threads publishes it.
    for (size_t i = 0; i < capacity; ++i) {
      cells_[i].sequence.store(i, std::memory_order_relaxed);
    }
  }
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;
  ~BoundedQueue() {
    while (try_pop()) {
    }
  }

  size_t capacity() const { return mask_ + 1; }

  // False when full; `value` is then untouched.
  [[nodiscard]] bool try_push(T&& value) {
    size_t position = tail_.load(std::memory_order_relaxed);
    Cell* cell = nullptr;
    for (;;) {
      cell = &cells_[position & mask_];
      // Acquire: the cell was emptied before we fill it. Partner: the release store in try_pop().
      const size_t sequence = cell->sequence.load(std::memory_order_acquire);
      const auto lead = static_cast<ptrdiff_t>(sequence - position);
      if (lead < 0) return false;
      if (lead > 0) {
        position = tail_.load(std::memory_order_relaxed);
        // Relaxed: the exchange only shares out positions; the sequence orders the element.
      } else if (tail_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        break;
      }
    }
    ::new (static_cast<void*>(cell->storage)) T(std::move(value));
    // Release: the element is there. Partner: the acquire load in try_pop().
    cell->sequence.store(position + 1, std::memory_order_release);
    return true;
  }
  [[nodiscard]] bool try_push(const T& value) { return try_push(T(value)); }

  // Nothing when empty.
  std::optional<T> try_pop() {
    size_t position = head_.load(std::memory_order_relaxed);
    Cell* cell = nullptr;
    for (;;) {
      cell = &cells_[position & mask_];
      // Acquire: partner of the release store in try_push().
      const size_t sequence = cell->sequence.load(std::memory_order_acquire);
      const auto lead = static_cast<ptrdiff_t>(sequence - (position + 1));
      if (lead < 0) return std::nullopt;
      if (lead > 0) {
        position = head_.load(std::memory_order_relaxed);
      } else if (head_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        break;
      }
    }
    T* element = std::launder(reinterpret_cast<T*>(cell->storage));
    std::optional<T> value(std::move(*element));
    element->~T();
    // Release: the cell is empty. Partner: the acquire load in try_push().
    cell->sequence.store(position + mask_ + 1, std::memory_order_release);
    return value;
  }

  // Positions taken but not yet popped, as of some moment during the call: exact while no other
  // thread is at work. Zero means that every push which happened before this call has been popped
  // or is being popped.
  size_t size_hint() const {
    // Acquire on head first: head <= tail then holds for the two values read.
    const size_t head = head_.load(std::memory_order_acquire);
    const size_t tail = tail_.load(std::memory_order_acquire);
    return tail - head;
  }

 private:
  struct Cell {
    std::atomic<size_t> sequence{0};
    alignas(T) std::byte storage[sizeof(T)];
  };

  const size_t mask_;
  const std::unique_ptr<Cell[]> cells_;
  alignas(kCacheLinePadBytes) std::atomic<size_t> tail_{0};
  alignas(kCacheLinePadBytes) std::atomic<size_t> head_{0};
};

}  // namespace baton::base
