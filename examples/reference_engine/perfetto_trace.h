// perfetto_trace: a RunReport as a trace for ui.perfetto.dev or chrome://tracing.
#pragma once

#include <string>

#include "examples/reference_engine/run_report.h"

namespace baton_engine {

// Trace-event JSON: the processes prefill and decode with a thread for each kind of event, and an
// arrow per layer from computed by posted and placed to seen. The processes of push-after follow.
// Timestamps are microseconds; both hand-offs begin to compute at the same one. Without
// clock_is_shared only prefill's events are there.
std::string perfetto_trace(const RunReport& report);

}  // namespace baton_engine
