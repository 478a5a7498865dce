// Progress on standard error: one line each, with the seconds since the start.
//
// Thread rule: thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

namespace baton_engine {

class Progress {
 public:
  Progress(std::string who, bool quiet);

  // Always shown, unless quiet.
  void say(const std::string& text);
  // Shown when the last line is half a second old or more.
  void maybe_say(const std::string& text);

 private:
  const std::string who_;
  const bool quiet_;
  const int64_t start_ns_;
  std::mutex mutex_;
  int64_t last_ns_ = 0;
};

// CLOCK_MONOTONIC, nanoseconds.
int64_t now_ns();
// CPU time of all threads of this process so far.
int64_t process_cpu_ns();

}  // namespace baton_engine
