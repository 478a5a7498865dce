#include "src/base/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

#include "src/base/assert.h"

namespace baton::base {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
static_assert(std::atomic<uint32_t>::is_always_lock_free);

bool futex_wait_until(const std::atomic<uint32_t>& word, uint32_t expected, int64_t deadline_ns) {
  if (deadline_ns < 0) return false;
  const timespec deadline{deadline_ns / 1'000'000'000, deadline_ns % 1'000'000'000};
  // FUTEX_WAIT_BITSET takes an absolute time, of CLOCK_MONOTONIC unless told otherwise.
  const long rc = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                            deadline_ns == kNoDeadlineNs ? nullptr : &deadline, nullptr,
                            FUTEX_BITSET_MATCH_ANY);
  if (rc == 0) return true;
  BATON_ASSERT(errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT,
               "a futex wait on a mapped word ends in one of these");
  return errno != ETIMEDOUT;
}

void futex_wake_all(const std::atomic<uint32_t>& word) {
  // EFAULT, when the waiter freed the word after it saw the change, is harmless.
  ::syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace baton::base
