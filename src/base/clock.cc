#include "src/base/clock.h"

#include <ctime>

#include "src/base/assert.h"

namespace baton::base {

int64_t monotonic_now_ns() {
  timespec now{};
  const int rc = ::clock_gettime(CLOCK_MONOTONIC, &now);
  BATON_DCHECK(rc == 0, "CLOCK_MONOTONIC is always there on Linux");
  static_cast<void>(rc);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void ManualClock::advance_ns(int64_t delta_ns) {
  BATON_ASSERT(delta_ns >= 0, "a clock never goes back");
  now_ns_.fetch_add(delta_ns, std::memory_order_acq_rel);
}

}  // namespace baton::base
