#include "src/api/caller_fd.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "src/base/assert.h"

namespace baton::api {

namespace {

Status refused(const char* call) {
  const bool none_left = errno == EMFILE || errno == ENFILE || errno == ENOSPC;
  return Status(none_left ? StatusCode::kExhausted : StatusCode::kIoError,
                std::string(call) + " for the caller's descriptor: " + std::strerror(errno));
}

}  // namespace

Result<CallerFd> CallerFd::create(int events_fd, int data_fd) {
  base::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.is_valid()) return refused("epoll_create1");
  base::UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.is_valid()) return refused("timerfd_create");
  for (const int fd : {events_fd, data_fd, timer.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return refused("epoll_ctl");
  }
  return CallerFd(std::move(epoll), std::move(timer));
}

void CallerFd::wake_at(int64_t at_ns, int64_t now_ns) {
  if (at_ns >= armed_ns_ && now_ns < armed_ns_) return;
  armed_ns_ = at_ns;
  itimerspec when{};  // zero: never
  if (at_ns != INT64_MAX) {
    const int64_t at = std::max<int64_t>(at_ns, 1);
    when.it_value = {at / 1'000'000'000, at % 1'000'000'000};
  }
  const int rc = ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
  BATON_ASSERT(rc == 0, "a timer can be set");
}

}  // namespace baton::api
