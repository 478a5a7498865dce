// Waker: lets any thread wake the one thread that drives the data path, at the price of one atomic
// operation while that thread is awake.
//
//     sleeper                                waker
//       prepare_sleep()                        publish the work
//       if (no work) wait for fd()             wake()
//       finish_sleep()
//
// Invariants:
//  1. Work published before wake() is either seen by the check after prepare_sleep(), or fd() polls
//  readable. Both sides
//     do a read-modify-write (acquire and release) of one flag: whichever comes second has seen the
//     other.
//  2. fd() may poll readable without work (a wake-up that arrived late); it never fails to when
//  there is.
//
// Ownership: shared by everyone who may wake; owns its eventfd. Thread rule: wake() from any thread
// and from a forked child never; prepare_sleep and finish_sleep by the sleeper alone.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "baton/status.h"
#include "src/base/event_fd.h"

namespace baton::counter {

class Waker {
 public:
  // kExhausted or kIoError, with errno's text.
  static Result<std::shared_ptr<Waker>> create();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  // A system call only when the sleeper is between prepare_sleep() and finish_sleep(), and then
  // once.
  void wake();

  // From here until finish_sleep() a wake() makes fd() readable. Look for work after it, and before
  // waiting.
  void prepare_sleep();
  // Ends what prepare_sleep() began and takes back what made fd() readable.
  void finish_sleep();

  // Polls readable when woken. Non-blocking; owned by the Waker.
  int fd() const { return event_.fd(); }

 private:
  explicit Waker(base::EventFd event) : event_(std::move(event)) {}

  const base::EventFd event_;
  std::atomic<bool> sleeping_{false};
};

}  // namespace baton::counter
