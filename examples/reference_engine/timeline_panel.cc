#include "examples/reference_engine/timeline_panel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>

#include "examples/reference_engine/handoff_spans.h"
#include "examples/reference_engine/report_format.h"
#include "examples/reference_engine/timeline_closeup.h"

namespace baton_engine {

namespace {

constexpr double kLaneGap = 4;
constexpr double kRowsTop = 2 * (kLaneHeight + kLaneGap) + 4;
constexpr double kBracketHeight = 22;
constexpr double kTailHeight = 2 * kBracketHeight + 4;  // room under the rows for two

class PanelDrawing {
 public:
  PanelDrawing(SvgWriter& svg, const TimelinePanel& panel)
      : svg_(svg), panel_(panel), handoff_(*panel.handoff), axis_(panel.axis) {}

  void draw() {
    draw_ground();
    draw_prefill_lane();
    draw_decode_lane();
    draw_compute();
    for (size_t row = 0; row < handoff_.layers.size(); ++row) draw_layer(row);
    draw_prefill_end();
    draw_tooltips();
    if (panel_.magnified) draw_finished_rows();
  }

 private:
  // None for what did not happen.
  std::optional<double> ms(int64_t moment_ns) const {
    if (moment_ns == 0) return std::nullopt;
    return static_cast<double>(moment_ns - panel_.zero_ns) * 1e-6;
  }
  // The part of [begin, end] that shows, at least `least` wide; none when nothing does.
  std::optional<Box> bar(std::optional<double> begin, std::optional<double> end, double y,
                         double height, double least = 0.6) const {
    if (!begin || !end || *end < axis_.begin_ms || *begin > axis_.end_ms) return std::nullopt;
    const double x = axis_.at(std::max(*begin, axis_.begin_ms));
    const double width = axis_.at(std::min(std::max(*end, *begin), axis_.end_ms)) - x;
    return Box{x, y, std::max(width, least), height};
  }
  std::optional<double> mark(int64_t moment_ns) const {
    const std::optional<double> moment = ms(moment_ns);
    if (!moment || !axis_.contains(*moment)) return std::nullopt;
    return axis_.at(*moment);
  }

  double lane_y(int lane) const { return panel_.y + lane * (kLaneHeight + kLaneGap); }
  double row_y(size_t row) const {
    return panel_.y + kRowsTop + static_cast<double>(row) * panel_.row_height;
  }
  double bottom() const { return row_y(handoff_.layers.size()); }

  void draw_ground();
  void draw_row_names();
  void draw_prefill_lane();
  void draw_decode_lane();
  void draw_compute();
  void draw_layer(size_t row);
  void draw_prefill_end();
  // Under the rows, from prefill's end to `to_ns`, with its length.
  void draw_bracket(int line, int64_t to_ns, const std::string& name, std::string_view fill);
  void draw_tooltips();
  void draw_finished_rows();

  SvgWriter& svg_;
  const TimelinePanel& panel_;
  const HandoffTimes& handoff_;
  const TimeAxis& axis_;
};

// 1, 2 or 5 times a power of ten, so that numbers stand at least `apart` pixels from each other.
double tick_step(const TimeAxis& axis, double apart) {
  const double least = (axis.end_ms - axis.begin_ms) * apart / axis.width;
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least) return factor * power;
  }
  return 10 * power;
}

std::string tick_label(double value, double step) {
  if (std::abs(value) < step / 2) return "0";
  const int digits = step >= 1 ? 0 : static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  if (digits > 0) return fmt::format("{:.{}f}", value, digits);
  return (value < 0 ? "-" : "") +
         format_count(static_cast<uint64_t>(std::llround(std::abs(value))));
}

void PanelDrawing::draw_ground() {
  for (size_t row = 0; row < handoff_.layers.size(); row += 10) {
    const size_t end = std::min(row + 5, handoff_.layers.size());
    svg_.rect({axis_.x, row_y(row), axis_.width, row_y(end) - row_y(row)}, colour::kBand);
  }
  const double axis_y = bottom() + kTailHeight;
  const double step = tick_step(axis_, 64);
  const double first = std::ceil(axis_.begin_ms / step - 1e-9);
  for (double index = first; index * step <= axis_.end_ms * (1 + 1e-9) + 1e-9; ++index) {
    const double x = axis_.at(index * step);
    svg_.line({x, panel_.y + kRowsTop}, {x, axis_y}, colour::kGrid, 1);
    svg_.text({x, axis_y + 15}, tick_label(index * step, step),
              {.size = 12, .fill = colour::kMuted, .anchor = Anchor::kMiddle});
  }
  svg_.line({axis_.x, axis_y}, {axis_.x + axis_.width, axis_y}, colour::kMuted, 1);
  draw_row_names();
}

void PanelDrawing::draw_row_names() {
  const TextStyle style = {.size = 12, .fill = colour::kMuted, .anchor = Anchor::kEnd};
  const double x = axis_.x - 8;
  svg_.text({x, lane_y(0) + 14}, "prefill", style);
  svg_.text({x, lane_y(1) + 14}, "decode", style);
  const size_t each = panel_.row_height >= 14 ? 1 : panel_.row_height >= 7 ? 5 : 10;
  for (size_t row = 0; row < handoff_.layers.size(); row += each) {
    const std::string name =
        (row == 0 ? "layer " : "") + std::to_string(handoff_.layers[row].layer);
    svg_.text({x, row_y(row) + panel_.row_height / 2 + 4}, name, style);
  }
}

void PanelDrawing::draw_prefill_lane() {
  const double y = lane_y(0);
  svg_.rect({axis_.x, y, axis_.width, kLaneHeight}, colour::kIdle, 3);
  const std::vector<ComputeSpan> spans = compute_spans(handoff_);
  for (size_t first = 0; first < spans.size();) {
    const size_t chunk = spans[first].chunk;
    size_t last = first;
    while (last + 1 < spans.size() && spans[last + 1].chunk == chunk) ++last;
    const auto box = bar(ms(spans[first].begin_ns), ms(spans[last].end_ns), y, kLaneHeight);
    first = last + 1;
    if (!box) continue;
    const bool odd = chunk % 2 == 1;
    svg_.rect(*box, odd ? colour::kComputedOdd : colour::kComputed);
    std::string name = fmt::format("chunk {}", chunk + 1);
    if (chunk < handoff_.chunks.size()) {
      const HandoffTimes::Chunk& tokens = handoff_.chunks[chunk];
      const std::string longer =
          name + fmt::format(": tokens {} to {}", tokens.token_begin, tokens.token_end);
      if (text_width(longer, 12) < box->width) name = longer;
    }
    if (text_width(name, 12) > box->width) name = std::to_string(chunk + 1);
    if (text_width(name, 12) > box->width) continue;
    svg_.text({box->x + box->width / 2, y + 14}, name,
              {.size = 12, .fill = odd ? colour::kInk : colour::kPaper, .anchor = Anchor::kMiddle});
  }
}

void PanelDrawing::draw_decode_lane() {
  const double y = lane_y(1);
  svg_.rect({axis_.x, y, axis_.width, kLaneHeight}, colour::kIdle, 3);
  int64_t seen_ns = 0;  // when the first step passed its first gate
  for (const LayerTimes& layer : handoff_.layers) {
    if (layer.seen_ns != 0 && (seen_ns == 0 || layer.seen_ns < seen_ns)) seen_ns = layer.seen_ns;
  }
  const int64_t token_ns = handoff_.first_token_ns;
  const auto step = bar(ms(seen_ns), ms(token_ns), y, kLaneHeight, 2);
  double free_end = axis_.x + axis_.width;  // of what is empty before the step
  if (step) {
    svg_.rect(*step, colour::kSeen);
    free_end = step->x;
    std::string name = "decode's first step";
    if (text_width(name, 12) > step->width - 12) name = "first step";
    if (text_width(name, 12) < step->width - 12) {
      svg_.text({step->x + step->width / 2 - 4, y + 14}, name,
                {.size = 12, .fill = colour::kPaper, .anchor = Anchor::kMiddle});
    }
  }
  if (const std::string name = "waits for the KV of layer 0";
      text_width(name, 12) + 8 < free_end - axis_.x && !handoff_.layers.empty()) {
    svg_.text({axis_.x + 8, y + 14}, name, {.size = 12, .fill = colour::kMuted});
  }
  if (const auto x = mark(token_ns)) {
    svg_.diamond({*x, y + kLaneHeight / 2}, 7, colour::kPaper);
    svg_.diamond({*x, y + kLaneHeight / 2}, 5.5, colour::kToken);
  }
}

void PanelDrawing::draw_compute() {
  const double height = 0.76 * panel_.row_height;
  const std::vector<ComputeSpan> spans = compute_spans(handoff_);
  for (const bool odd : {false, true}) {
    for (const ComputeSpan& span : spans) {
      if ((span.chunk % 2 == 1) != odd || span.layer >= handoff_.layers.size()) continue;
      const double y = row_y(span.layer) + 0.12 * panel_.row_height;
      if (const auto box = bar(ms(span.begin_ns), ms(span.end_ns), y, height)) {
        svg_.add_to_path(*box);
      }
    }
    svg_.path(odd ? colour::kComputedOdd : colour::kComputed);
  }
}

void PanelDrawing::draw_layer(size_t row) {
  const LayerTimes& layer = handoff_.layers[row];
  const double height = panel_.row_height;
  const double middle = row_y(row) + height / 2;
  const double thin = std::max(0.28 * height, 1.5);
  // Without a moment of posting the whole stretch counts as on its way.
  const auto posted = ms(layer.posted_ns != 0 ? layer.posted_ns : layer.computed_ns);
  const auto placed = ms(layer.placed_ns);
  if (const auto box = bar(ms(layer.computed_ns), posted, middle - thin / 2, thin)) {
    svg_.rect(*box, colour::kHeld);
  }
  if (const auto box = bar(placed, ms(layer.seen_ns), middle - thin / 2, thin)) {
    svg_.rect(*box, colour::kReady);
  }
  if (const auto box = bar(posted, placed, middle - 0.38 * height, 0.76 * height, 1.5)) {
    svg_.rect(*box, colour::kMoving);
  }
  if (panel_.magnified) {
    if (const auto x = mark(layer.posted_ns)) {
      svg_.line({*x, middle - 0.45 * height}, {*x, middle + 0.45 * height}, colour::kInk, 1.2);
    }
    if (const auto x = mark(layer.placed_ns)) {
      svg_.circle({*x, middle}, std::min(0.3 * height, 4.0), colour::kPlaced);
    }
  }
  if (const auto x = mark(layer.seen_ns)) {
    const double width = panel_.magnified ? 3 : 2;
    svg_.rect({*x - width / 2, middle - 0.45 * height, width, 0.9 * height}, colour::kSeen);
  }
}

void PanelDrawing::draw_prefill_end() {
  const auto x = mark(last_computed_ns(handoff_));
  if (!x) return;
  svg_.line({*x, panel_.y - 2}, {*x, bottom() + kTailHeight}, colour::kInk, 1.2, "4 3");
  if (!panel_.magnified) return;
  draw_bracket(0, last_placed_ns(handoff_), panel_.transfer_name, colour::kPlaced);
  draw_bracket(1, handoff_.first_token_ns, "first token after", colour::kToken);
}

void PanelDrawing::draw_bracket(int line, int64_t to_ns, const std::string& name,
                                std::string_view fill) {
  const int64_t from_ns = last_computed_ns(handoff_);
  if (to_ns < from_ns) return;
  const double from = axis_.at(*ms(from_ns));
  const double to = axis_.at(std::min(*ms(to_ns), axis_.end_ms));
  const double y = bottom() + 13 + line * kBracketHeight;
  const double end = std::max(to, from + 2);
  svg_.rect({from, y - 2, end - from, 4}, fill);
  for (const double x : {from, end}) svg_.line({x, y - 6}, {x, y + 6}, fill, 1.6);
  const std::string label =
      fmt::format("{} {} ms", name, format_ms(static_cast<double>(to_ns - from_ns) * 1e-6));
  const bool right = end + 8 + text_width(label, 14) < axis_.x + axis_.width;
  svg_.text(
      {right ? end + 8 : from - 8, y + 5}, label,
      {.size = 14, .fill = fill, .anchor = right ? Anchor::kStart : Anchor::kEnd, .bold = true});
}

void PanelDrawing::draw_tooltips() {
  for (size_t row = 0; row < handoff_.layers.size(); ++row) {
    const LayerTimes& layer = handoff_.layers[row];
    std::string text = fmt::format("layer {}", layer.layer);
    const auto add = [&](std::string_view name, int64_t moment_ns) {
      if (moment_ns == 0) return;
      const double since = static_cast<double>(moment_ns - handoff_.prefill_begin_ns) * 1e-6;
      fmt::format_to(std::back_inserter(text), "\n{} {:.3f} ms", name, since);
    };
    add("computed", layer.computed_ns);
    add("posted", layer.posted_ns);
    add("placed", layer.placed_ns);
    add("seen by decode", layer.seen_ns);
    svg_.tooltip({axis_.x, row_y(row), axis_.width, panel_.row_height}, text);
  }
}

// Rows with nothing to show, because all was over before the window: says so, and has room for a
// closer look at the layer that was placed last.
void PanelDrawing::draw_finished_rows() {
  const auto is_over = [&](const LayerTimes& layer) {
    const auto seen = ms(layer.seen_ns);
    const auto placed = ms(layer.placed_ns);
    return seen && placed && std::max(*seen, *placed) < axis_.begin_ms;
  };
  const auto& layers = handoff_.layers;
  const auto rows_end = std::find_if_not(layers.begin(), layers.end(), is_over);
  const auto rows = static_cast<size_t>(rows_end - layers.begin());
  const double height = row_y(rows) - row_y(0);
  if (height < 30) return;
  svg_.text({axis_.x + 14, row_y(0) + 20},
            rows == 1 ? fmt::format("layer {} was placed and used before", layers.front().layer)
                      : fmt::format("layers {} to {} were placed and used before",
                                    layers.front().layer, layers[rows - 1].layer),
            {.size = 13, .fill = colour::kMuted});
  const auto last = std::max_element(
      layers.begin(), layers.end(),
      [](const LayerTimes& a, const LayerTimes& b) { return a.placed_ns < b.placed_ns; });
  if (height < kCloseupHeight + 60 || last->computed_ns == 0) return;
  draw_closeup(svg_, *last, {axis_.x + 14, row_y(rows) - kCloseupHeight - 24}, axis_.width - 28);
}

}  // namespace

double panel_height(size_t num_layers, double row_height) {
  return kRowsTop + static_cast<double>(num_layers) * row_height + kTailHeight;
}

void draw_panel(SvgWriter& svg, const TimelinePanel& panel) { PanelDrawing(svg, panel).draw(); }

}  // namespace baton_engine
