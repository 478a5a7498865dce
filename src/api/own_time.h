// OwnTime: how long this process has been at something, as far as it ran. A process that is stopped
// (SIGSTOP, a debugger) does not use it up.
//
// Thread rule: one thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace baton::api {

class OwnTime {
 public:
  explicit OwnTime(int64_t now_ns) : last_ns_(now_ns) {}

  // Called in each round of a loop. A longer pause between two calls than rounds take counts as
  // one of 10 ms.
  int64_t spent_ns(int64_t now_ns) {
    constexpr int64_t kLongestRoundNs = 10'000'000;
    spent_ns_ += std::min(now_ns - last_ns_, kLongestRoundNs);
    last_ns_ = now_ns;
    return spent_ns_;
  }

 private:
  int64_t last_ns_;
  int64_t spent_ns_ = 0;
};

}  // namespace baton::api
