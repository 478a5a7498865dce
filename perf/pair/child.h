// Child: the second process of a pair, this very program again. It dies with its owner, whatever
// happens to it.
//
// Invariants:
//  1. A child that was started is reaped: by wait(), by the destructor, or by the signal handler.
//  2. A child whose parent is killed is killed by the kernel.
//
// Thread rule: the thread that starts a child outlives it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "baton/status.h"

namespace baton_perf {

class Child {
 public:
  // Runs /proc/self/exe with these arguments (without argv[0]); its standard output is read_line's.
  static baton::Result<Child> start(const std::vector<std::string>& arguments);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  // Kills and reaps it if it still runs.
  ~Child();

  pid_t pid() const { return pid_; }
  // The next line of its standard output. kPeerLost: it ended first; kDeadlineExceeded.
  baton::Result<std::string> read_line(uint32_t timeout_ms);
  // Waits for its end; kills it after timeout_ms. kPeerLost: how it ended, unless with status 0.
  baton::Status wait(uint32_t timeout_ms);

 private:
  Child(pid_t pid, int output) : pid_(pid), output_(output) {}

  pid_t pid_ = -1;
  int output_ = -1;
  std::string unread_;
};

// SIGINT, SIGTERM and SIGHUP end the process with 128 + the signal's number, its child killed and
// reaped first. Call once, from main.
void exit_on_signals();

}  // namespace baton_perf
