// GateState: what a Gate handle points at: a number of slots still short of their target, and a
// status beside it.
//
// Invariants:
//  1. closed -> opening -> open, once. Whoever moves it from closed (the data thread at zero, any
//  thread on a failure)
//     decides the status; everybody else's verdict is dropped.
//  2. A gate that arrives tells its parent, as one of the parent's slots; one that fails does not:
//     whoever fails it decides about the parent. It is open before the parent counts it.
//  3. The status and the time are stored before the gate is open (release), and read only after
//  (acquire).
//
// Ownership: shared; whoever opens it holds a reference meanwhile. Thread rule: thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "baton/status.h"

namespace baton::counter {

class GateState {
 public:
  // Closed until slot_done() was called `num_slots` times. With 0 it is open, arrived, from
  // `now_ns`.
  GateState(uint32_t num_slots, int64_t now_ns);
  GateState(const GateState&) = delete;
  GateState& operator=(const GateState&) = delete;

  // This gate is one of the slots of `parent`. REQUIRES: before it is shared, while it is closed.
  void set_parent(std::shared_ptr<GateState> parent) { parent_ = std::move(parent); }
  // One slot reached its target, and its bytes are visible. True when this opened the gate (OK): it
  // was the last and nothing failed before. Release towards waiters. Does not allocate; a system
  // call only when somebody waits. REQUIRES: called at most num_slots times.
  bool slot_done(int64_t now_ns);
  // Opens with an error. True when this opened the gate, false when it was open already (or is
  // being opened). REQUIRES: !status.is_ok().
  bool fail(Status status, int64_t now_ns);

  bool is_open() const { return phase_.load(std::memory_order_acquire) == kOpen; }
  // OK, the failure, or kBusy while closed.
  Status poll() const;
  // Blocks until open or until `deadline_ns` of CLOCK_MONOTONIC (then kDeadlineExceeded).
  Status wait(int64_t deadline_ns) const;
  // 0 while closed.
  int64_t opened_ns() const;
  // Slots still short of their target (a moment's value; after a failure it may stay above 0).
  uint32_t remaining() const { return remaining_.load(std::memory_order_acquire); }

 private:
  enum Phase : uint32_t { kClosed = 0, kOpening = 1, kOpen = 2 };

  bool open(Status status, int64_t now_ns);

  std::atomic<uint32_t> remaining_;
  mutable std::atomic<uint32_t> phase_{kClosed};  // futex word
  // Threads in wait(). With phase_ a pair of flags (store mine, read yours; all four seq_cst): an
  // opener that reads 0 is sure that a later waiter reads kOpen, and skips the system call.
  mutable std::atomic<uint32_t> waiters_{0};
  Status status_;                      // written by the opener before kOpen
  int64_t opened_ns_ = 0;              // likewise
  std::shared_ptr<GateState> parent_;  // constant once shared
};

}  // namespace baton::counter
