// Lifecycle: ACTIVE -> DONE, or ACTIVE -> CANCELLING -> DONE | FAILED | CANCELLED. A receiver's
// Grant never goes from CANCELLING to DONE; a writer's Transfer may, when the receiver had decided
// DONE before it heard of the cancel.
//
// Invariants:
//  1. Exactly one of begin_complete() (also within complete()) and begin_cancel() ever succeeds
//     (docs/architecture.md, "The life of a Grant").
//  2. The cause is written by the winner of begin_cancel only, the outcome by the one caller of
//     finish(); each before it can be read.
//
// Thread rule: begin_cancel() and the readers from any thread; complete(), its two halves and
// finish() by the data thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "baton/grant.h"
#include "baton/status.h"

namespace baton::handoff {

class Lifecycle {
 public:
  State state() const { return state_of(phase_.load(std::memory_order_acquire)); }
  bool is_active() const { return state() == State::kActive; }
  bool is_terminal() const { return baton::is_terminal(state()); }

  // ACTIVE -> DONE. Terminal: waiters wake. False when it was no longer active.
  bool complete(int64_t now_ns);
  // complete() in two steps: after the first no cancel wins any more, and readers still see ACTIVE
  // until the second. False, and then there is no second, when it was no longer active.
  [[nodiscard]] bool begin_complete();
  // REQUIRES: begin_complete() has won.
  void end_complete(int64_t now_ns);
  // ACTIVE -> CANCELLING with its cause. False when it was no longer active (`why` is then dropped:
  // failure is sticky).
  bool begin_cancel(Status why);
  // To `outcome`'s state: OK is DONE, kCancelled is CANCELLED, all else FAILED. Waiters wake.
  // REQUIRES: not terminal.
  void finish(Status outcome, int64_t now_ns);

  // While CANCELLING the cause, when terminal the outcome; OK otherwise.
  Status status() const;
  int64_t ended_ns() const { return ended_ns_.load(std::memory_order_acquire); }

  // Until terminal or CLOCK_MONOTONIC `deadline_ns`; true when terminal.
  bool wait_terminal(int64_t deadline_ns) const;

 private:
  // begin_cancel() has won and is writing the cause, or begin_complete() has: to readers still
  // ACTIVE, to the other of the two no more.
  static constexpr uint32_t kClaimed = 100;

  static State state_of(uint32_t phase) {
    return phase == kClaimed ? State::kActive : static_cast<State>(phase);
  }

  mutable std::atomic<uint32_t> phase_{static_cast<uint32_t>(State::kActive)};  // futex word
  Status cause_;    // published by phase_ CANCELLING
  Status outcome_;  // published by a terminal phase_
  std::atomic<int64_t> ended_ns_{0};
};

}  // namespace baton::handoff
