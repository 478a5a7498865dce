// timeline_svg: a RunReport as a picture.
#pragma once

#include <string>

#include "examples/reference_engine/run_report.h"

namespace baton_engine {

// One self-contained SVG (no scripts, no other files): the hand-off that was asked for, the same
// request pushed after prefill on the same time axis, and both magnified around the last chunk of
// prefill and the tail.
std::string timeline_svg(const RunReport& report);

}  // namespace baton_engine
