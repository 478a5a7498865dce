// CallerFd: the one descriptor that a caller who drives waits on. Polls readable when an event
// waits, when the data path has work, and when its next timer has run out.
//
// Thread rule: wake_at() by whoever drives; fd() from any thread.
#pragma once

#include <cstdint>
#include <utility>

#include "baton/status.h"
#include "src/base/unique_fd.h"

namespace baton::api {

class CallerFd {
 public:
  // Over two descriptors that outlive it. kExhausted: no descriptors left; kIoError.
  static Result<CallerFd> create(int events_fd, int data_fd);

  // fd() polls readable from `at_ns` (CLOCK_MONOTONIC; INT64_MAX: never) until the next call after
  // that. It may do so earlier, once, when an earlier time was asked for before: a later one is not
  // told to the kernel, so that a caller who spins pays one system call for each time that runs
  // out.
  void wake_at(int64_t at_ns, int64_t now_ns);

  int fd() const { return epoll_.get(); }

 private:
  CallerFd(base::UniqueFd epoll, base::UniqueFd timer)
      : epoll_(std::move(epoll)), timer_(std::move(timer)) {}

  base::UniqueFd epoll_;
  base::UniqueFd timer_;
  int64_t armed_ns_ = INT64_MAX;
};

}  // namespace baton::api
