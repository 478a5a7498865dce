// What the marks of a HandoffTimes mean as stretches of time, for the pictures of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "examples/reference_engine/run_report.h"

namespace baton_engine {

// Prefill computing one layer of one chunk: since it finished the one before, or began.
struct ComputeSpan {
  size_t chunk = 0;
  size_t layer = 0;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
};

// In order of time. Without chunks, the layers are taken for the only one; moments that did not
// happen have no span.
std::vector<ComputeSpan> compute_spans(const HandoffTimes& handoff);

// The latest moment of each kind; 0 when there is none. Without layers, prefill's end.
int64_t last_computed_ns(const HandoffTimes& handoff);
int64_t last_placed_ns(const HandoffTimes& handoff);
// First token, or what came last when there was none. 0: nothing happened.
int64_t last_moment_ns(const HandoffTimes& handoff);

// What can stand on one axis of time: without `clock_is_shared`, the moments of prefill alone.
HandoffTimes on_one_clock(const HandoffTimes& handoff, bool clock_is_shared);

}  // namespace baton_engine
