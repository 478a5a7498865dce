// EventFd: a flag that polls readable while it is set. For waking a thread that sleeps in poll or
// epoll.
//
// Thread rule: every function from any thread.
#pragma once

#include "baton/status.h"
#include "src/base/unique_fd.h"

namespace baton::base {

class EventFd {
 public:
  // Non-blocking, close-on-exec. kExhausted: no descriptors left; kIoError.
  static Result<EventFd> create();

  // What was written before is visible to the thread that clear() or poll then wakes (the kernel
  // orders it). Signals before the next clear() are one. Does not block or fail.
  void signal() const;
  // Returns whether it was set.
  bool clear() const;

  int fd() const { return fd_.get(); }

 private:
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace baton::base
