// report_json: a RunReport for other programs.
#pragma once

#include <string>

#include "examples/reference_engine/run_report.h"

namespace baton_engine {

// The report as one pretty-printed JSON object, ending with a newline. Times are CLOCK_MONOTONIC
// nanoseconds and durations nanoseconds, as in RunReport. Without clock_is_shared, tail_ns,
// push_after_transfer_ns and hidden_share are null: no clock measured them. Bytes that are no UTF-8
// become U+FFFD.
std::string report_json(const RunReport& report);

}  // namespace baton_engine
