// report_text: a RunReport for people.
#pragma once

#include <string>

#include "examples/reference_engine/run_report.h"

namespace baton_engine {

// Both texts, a row per layer (milliseconds since prefill began), the tail, the hidden share, the
// time to first token of the three ways, and the verdict as last line, which ends with a newline.
std::string report_text(const RunReport& report);
// Its end alone: what was compared, what differs, and the verdict.
std::string verdict_text(const RunReport& report);

}  // namespace baton_engine
