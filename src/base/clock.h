// Clock: time is injected, so that deadlines can be tested without waiting for them.
//
// Thread rule: every function from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace baton::base {

// Nanoseconds of CLOCK_MONOTONIC. Does not fail.
int64_t monotonic_now_ns();

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back. The zero is arbitrary.
  virtual int64_t now_ns() const = 0;
};

// CLOCK_MONOTONIC, the clock of epoll_pwait2 and futex deadlines.
class MonotonicClock final : public Clock {
 public:
  int64_t now_ns() const override { return monotonic_now_ns(); }
};

// Stands still until it is moved: for tests and simulation.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t start_ns = 0) : now_ns_(start_ns) {}

  int64_t now_ns() const override { return now_ns_.load(std::memory_order_acquire); }

  // REQUIRES: delta_ns >= 0. What the caller did before is visible to whoever reads the new time
  // (release; the partner is the acquire in now_ns()).
  void advance_ns(int64_t delta_ns);

 private:
  std::atomic<int64_t> now_ns_;
};

}  // namespace baton::base
