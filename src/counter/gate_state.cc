#include "src/counter/gate_state.h"

#include <string>
#include <utility>

#include "src/base/assert.h"
#include "src/base/futex.h"

namespace baton::counter {

GateState::GateState(uint32_t num_slots, int64_t now_ns) : remaining_(num_slots) {
  if (num_slots == 0) (void)open(Status::ok(), now_ns);
}

bool GateState::slot_done(int64_t now_ns) {
  // Acquire and release: the last one has seen what every earlier one placed.
  const uint32_t before = remaining_.fetch_sub(1, std::memory_order_acq_rel);
  BATON_ASSERT(before > 0, "a gate was told of more slots than it waits for");
  if (before > 1 || !open(Status::ok(), now_ns)) return false;
  if (parent_ != nullptr) parent_->slot_done(now_ns);
  return true;
}

bool GateState::fail(Status status, int64_t now_ns) {
  BATON_ASSERT(!status.is_ok(), "a gate fails with an error, not with OK");
  return open(std::move(status), now_ns);
}

bool GateState::open(Status status, int64_t now_ns) {
  uint32_t expected = kClosed;
  // Relaxed: it only decides who opens; the release below carries the data.
  if (!phase_.compare_exchange_strong(expected, kOpening, std::memory_order_relaxed)) return false;
  status_ = std::move(status);
  opened_ns_ = now_ns;
  // A release for is_open() and its like; seq_cst for the pair with waiters_.
  phase_.store(kOpen, std::memory_order_seq_cst);
  if (waiters_.load(std::memory_order_seq_cst) != 0) base::futex_wake_all(phase_);
  return true;
}

Status GateState::poll() const {
  if (!is_open()) return Status(StatusCode::kBusy, "the gate is closed");
  return status_;
}

Status GateState::wait(int64_t deadline_ns) const {
  if (is_open()) return status_;
  waiters_.fetch_add(1, std::memory_order_seq_cst);
  uint32_t phase = phase_.load(std::memory_order_seq_cst);
  bool in_time = true;
  while (phase != kOpen && in_time) {
    in_time = base::futex_wait_until(phase_, phase, deadline_ns);
    phase = phase_.load(std::memory_order_acquire);
  }
  // Relaxed: a waiter that is counted too long costs the opener a system call, no more.
  waiters_.fetch_sub(1, std::memory_order_relaxed);
  if (phase == kOpen) return status_;
  return Status(StatusCode::kDeadlineExceeded, "the gate is still closed, " +
                                                   std::to_string(remaining()) +
                                                   " of its slots have not arrived");
}

int64_t GateState::opened_ns() const { return is_open() ? opened_ns_ : 0; }

}  // namespace baton::counter
