// EngineChild: this very program again, as the prefill process of a run or as a rank.
//
// Invariants:
//  1. It is reaped before its EngineChild is gone.
//  2. When the parent is killed, the kernel kills it.
//
// Thread rule: the thread that starts a child outlives it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "baton/status.h"

namespace baton_engine {

class EngineChild {
 public:
  // Runs /proc/self/exe with these arguments (without argv[0]); its standard output is read_line's.
  // `name` is what errors call it ("the prefill process"). It inherits `descriptors` under their
  // numbers, and no others.
  static baton::Result<EngineChild> start(std::string name,
                                          const std::vector<std::string>& arguments,
                                          const std::vector<int>& descriptors = {});
  EngineChild(EngineChild&& other) noexcept;
  EngineChild& operator=(EngineChild&&) = delete;
  // SIGTERM, then SIGKILL after two seconds.
  ~EngineChild();

  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }
  // The next line of its standard output. kPeerLost: it ended first (says how); kCancelled:
  // interrupted; kDeadlineExceeded.
  baton::Result<std::string> read_line(uint32_t timeout_ms);
  // True when it ended by timeout_ms and was reaped.
  bool wait(uint32_t timeout_ms);
  // "exit status 2", once it was reaped.
  std::string how_it_ended() const;

 private:
  EngineChild(std::string name, pid_t pid, int output)
      : name_(std::move(name)), pid_(pid), output_(output) {}

  std::string name_;
  pid_t pid_ = -1;  // -1: reaped
  int output_ = -1;
  int status_ = 0;
  std::string unread_;
};

}  // namespace baton_engine
