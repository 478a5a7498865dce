// The process that is struck: it brings its hand-offs into a phase, says so, and waits for its end.
#pragma once

#include <cstdint>
#include <string>

#include "baton/status.h"

namespace baton_perf {

struct ToldPeerSettings {
  bool is_writer = true;
  std::string name;
  std::string address;       // of the survivor; the writer listens itself
  bool answers = true;       // writer: it answers the offers
  uint32_t layers = 0;       // writer: that it ticks
  uint32_t deadline_ms = 0;  // receiver: of its Grants
};

// Never returns OK. On standard output, a line each: the writer's address; "READY". The receiver's
// READY is followed by when it began to grant, in nanoseconds of CLOCK_MONOTONIC.
baton::Status run_told_peer(const ToldPeerSettings& settings);

}  // namespace baton_perf
