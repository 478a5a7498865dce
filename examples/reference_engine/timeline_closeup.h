// The close-up of the timeline: what became of one layer after it was computed.
#pragma once

#include "examples/reference_engine/run_report.h"
#include "examples/reference_engine/svg_writer.h"

namespace baton_engine {

inline constexpr double kCloseupHeight = 104;

// Draws computed, posted, placed and seen of `layer`, each with the milliseconds since it was
// computed, into a frame of kCloseupHeight. REQUIRES: computed_ns and placed_ns are not 0.
void draw_closeup(SvgWriter& svg, const LayerTimes& layer, Point corner, double width);

}  // namespace baton_engine
