#include "examples/reference_engine/engine_progress.h"

#include <time.h>

#include <cstdio>

namespace baton_engine {

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

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
