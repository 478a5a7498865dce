#include "examples/reference_engine/engine_progress.h"

#include <time.h>

#include <cstdio>

namespace baton_engine {

namespace {

int64_t read_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

int64_t now_ns() { return read_clock(CLOCK_MONOTONIC); }

int64_t process_cpu_ns() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

Progress::Progress(std::string who, bool quiet)
    : who_(std::move(who)), quiet_(quiet), start_ns_(now_ns()) {}

void Progress::say(const std::string& text) {
  if (quiet_) return;
  const std::lock_guard lock(mutex_);
  last_ns_ = now_ns();
  const double seconds = static_cast<double>(last_ns_ - start_ns_) * 1e-9;
  std::fprintf(stderr, "[%5.1fs] %-7s %s\n", seconds, who_.c_str(), text.c_str());
}

void Progress::maybe_say(const std::string& text) {
  if (quiet_) return;
  {
    const std::lock_guard lock(mutex_);
    if (now_ns() - last_ns_ < 500'000'000) return;
  }
  say(text);
}

}  // namespace baton_engine
