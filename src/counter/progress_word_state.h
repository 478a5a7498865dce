// ProgressWordState: what a ProgressWord handle points at: a word alone on its cache line, and whom
// to wake.
//
// Invariants:
//  1. The word only grows.
//  2. advance_to() is a release, value() an acquire, partners of each other: the KV bytes written
//  before the word reached v
//     are visible to whoever reads v or more.
//
// Ownership: shared by the handle and the Transfers that read it. Thread rule: one writer; value()
// from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "baton/status.h"
#include "src/counter/waker.h"

namespace baton::counter {

class ProgressWordState {
 public:
  // REQUIRES: waker is not null.
  explicit ProgressWordState(std::shared_ptr<Waker> waker);
  ProgressWordState(const ProgressWordState&) = delete;
  ProgressWordState& operator=(const ProgressWordState&) = delete;

  uint64_t value() const { return word_.load(std::memory_order_acquire); }
  // kInvalidArgument, with nothing changed, when `value` is below the present one.
  Status advance_to(uint64_t value);
  void tick();
  // For writers that Baton does not call; they use release stores. From here on is_polled().
  uint64_t* address();
  // Its writer may be one that wakes nobody: whoever waits for the word looks at it now and then.
  // Relaxed: address() wakes, which orders it.
  bool is_polled() const { return is_polled_.load(std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<uint64_t> word_{0};
  static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t));
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  // On the next line: the owner of address() dirties the first one.
  alignas(64) const std::shared_ptr<Waker> waker_;
  std::atomic<bool> is_polled_{false};
};

}  // namespace baton::counter
