// The one clock of the measurements.
#pragma once

#include <cstdint>

namespace baton_perf {

// Nanoseconds of CLOCK_MONOTONIC.
int64_t monotonic_ns();
// User and system CPU seconds of this process so far, all threads.
double process_cpu_seconds();

}  // namespace baton_perf
