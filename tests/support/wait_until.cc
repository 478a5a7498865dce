#include "tests/support/wait_until.h"

#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <ctime>

namespace baton_test {

bool wait_until(const std::function<bool()>& predicate, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  constexpr long kYields = 64;
  constexpr long kLongestNs = 1'000'000;
  for (long round = 0;; ++round) {
    if (predicate()) return true;
    if (std::chrono::steady_clock::now() >= deadline) return predicate();
    if (round < kYields) {
      ::sched_yield();
    } else {
      const timespec pause{0, std::min((round - kYields + 1) * 10'000, kLongestNs)};
      ::ppoll(nullptr, 0, &pause, nullptr);
    }
  }
}

}  // namespace baton_test
