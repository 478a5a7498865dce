// Waiting on an atomic word with a deadline, which std::atomic::wait does not have.
//
// Thread rule: every function from any thread of one process (private futexes).
#pragma once

#include <atomic>
#include <cstdint>

namespace baton::base {

inline constexpr int64_t kNoDeadlineNs = INT64_MAX;

// Sleeps while `word` == `expected`, until woken or CLOCK_MONOTONIC reaches `deadline_ns`. False
// when the deadline passed; true otherwise, also for no reason: the caller looks at the word again.
// A deadline in the past returns false at once. Gives no memory order of its own: the caller loads
// the word with acquire, the partner of the waker's release store.
bool futex_wait_until(const std::atomic<uint32_t>& word, uint32_t expected, int64_t deadline_ns);

// Wakes all waiters. Called after the word was changed. Does not block or fail.
void futex_wake_all(const std::atomic<uint32_t>& word);

}  // namespace baton::base
