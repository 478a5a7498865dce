#include "src/handoff/lifecycle.h"

#include "src/base/assert.h"
#include "src/base/futex.h"

namespace baton {

std::string_view state_name(State state) {
  switch (state) {
    case State::kActive:
      return "ACTIVE";
    case State::kCancelling:
      return "CANCELLING";
    case State::kDone:
      return "DONE";
    case State::kFailed:
      return "FAILED";
    case State::kCancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

namespace handoff {

bool Lifecycle::complete(int64_t now_ns) {
  if (!begin_complete()) return false;
  end_complete(now_ns);
  return true;
}

bool Lifecycle::begin_complete() {
  auto expected = static_cast<uint32_t>(State::kActive);
  return phase_.compare_exchange_strong(expected, kClaimed, std::memory_order_acq_rel);
}

void Lifecycle::end_complete(int64_t now_ns) {
  BATON_ASSERT(phase_.load(std::memory_order_relaxed) == kClaimed, "a completion was begun");
  ended_ns_.store(now_ns, std::memory_order_relaxed);
  // Release: whoever reads DONE sees when, and the bytes that were counted. Partner: the acquire in
  // state(). A claim is nobody else's to change.
  phase_.store(static_cast<uint32_t>(State::kDone), std::memory_order_release);
  base::futex_wake_all(phase_);
}

bool Lifecycle::begin_cancel(Status why) {
  BATON_ASSERT(!why.is_ok(), "a cancel has a cause");
  auto expected = static_cast<uint32_t>(State::kActive);
  if (!phase_.compare_exchange_strong(expected, kClaimed, std::memory_order_acq_rel)) return false;
  cause_ = std::move(why);
  // Release: publishes the cause. A finish() that came in between has the last word.
  expected = kClaimed;
  return phase_.compare_exchange_strong(expected, static_cast<uint32_t>(State::kCancelling),
                                        std::memory_order_acq_rel);
}

void Lifecycle::finish(Status outcome, int64_t now_ns) {
  BATON_ASSERT(!is_terminal(), "a request ends once");
  State state = State::kFailed;
  if (outcome.is_ok()) state = State::kDone;
  if (outcome.code() == StatusCode::kCancelled) state = State::kCancelled;
  outcome_ = std::move(outcome);
  ended_ns_.store(now_ns, std::memory_order_relaxed);
  // Release: publishes the outcome. A begin_cancel that comes in between loses its exchange
  // afterwards, or is overwritten.
  phase_.store(static_cast<uint32_t>(state), std::memory_order_release);
  base::futex_wake_all(phase_);
}

Status Lifecycle::status() const {
  const State now = state();
  if (baton::is_terminal(now)) return outcome_;
  return now == State::kCancelling ? cause_ : Status::ok();
}

bool Lifecycle::wait_terminal(int64_t deadline_ns) const {
  for (;;) {
    const uint32_t seen = phase_.load(std::memory_order_acquire);
    if (baton::is_terminal(state_of(seen))) return true;
    // CANCELLING changes the word, too: the loop looks again.
    if (!base::futex_wait_until(phase_, seen, deadline_ns)) return is_terminal();
  }
}

}  // namespace handoff
}  // namespace baton
