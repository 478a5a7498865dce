// One panel of the timeline: a hand-off within a window of time, a row per layer.
#pragma once

#include <cstdint>
#include <string>

#include "examples/reference_engine/run_report.h"
#include "examples/reference_engine/svg_writer.h"

namespace baton_engine {

// Milliseconds [begin_ms, end_ms] on [x, x + width].
struct TimeAxis {
  double begin_ms = 0;
  double end_ms = 1;
  double x = 0;
  double width = 1;

  double at(double ms) const { return x + (ms - begin_ms) / (end_ms - begin_ms) * width; }
  bool contains(double ms) const { return ms >= begin_ms && ms <= end_ms; }
};

struct TimelinePanel {
  const HandoffTimes* handoff = nullptr;
  int64_t zero_ns = 0;  // where the axis has its 0
  TimeAxis axis;
  double y = 0;
  double row_height = 10;
  bool magnified = false;     // marks posted, placed and the tail one by one
  std::string transfer_name;  // of the stretch from last computed to last placed: "tail"
};

inline constexpr double kLaneHeight = 20;  // prefill and decode, above the layers

// Everything above the axis's numbers: lanes, rows, marks.
double panel_height(size_t num_layers, double row_height);

// Draws it, with axis.
void draw_panel(SvgWriter& svg, const TimelinePanel& panel);

}  // namespace baton_engine
