#include "examples/reference_engine/timeline_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "examples/reference_engine/handoff_spans.h"
#include "examples/reference_engine/report_format.h"
#include "examples/reference_engine/svg_writer.h"
#include "examples/reference_engine/timeline_panel.h"

namespace baton_engine {

namespace {

constexpr double kWidth = 1280;
constexpr double kMargin = 28;
constexpr double kHeaderHeight = 158;
constexpr double kOverviewX = kMargin + 58;
constexpr double kOverviewWidth = 470;
constexpr double kDetailX = kOverviewX + kOverviewWidth + 110;
constexpr double kDetailWidth = kWidth - kMargin - kDetailX;
constexpr double kLegendHeight = 62;

double to_ms(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-6; }

// "4,568 ms", and from ten seconds on "64.09 s".
std::string duration(int64_t nanoseconds) {
  if (nanoseconds >= 10'000'000'000) {
    return fmt::format("{:.2f} s", static_cast<double>(nanoseconds) * 1e-9);
  }
  return format_ms(to_ms(nanoseconds)) + " ms";
}

struct Section {
  HandoffTimes handoff;  // as far as it stands on one clock
  std::string title;
  std::string subtitle;
  std::string transfer_name;
};

bool is_pull(const RunReport& report) { return report.hand_off == "pull"; }

std::vector<Section> sections(const RunReport& report) {
  std::vector<Section> all;
  const auto add = [&](const HandoffTimes& handoff, std::string title, std::string subtitle,
                       std::string transfer_name) {
    if (handoff.layers.empty()) return;
    all.push_back({on_one_clock(handoff, report.clock_is_shared), std::move(title),
                   std::move(subtitle), std::move(transfer_name)});
  };
  const bool is_push_after = report.hand_off == "push-after";
  if (!is_push_after) {
    add(report.handoff, report.hand_off,
        is_pull(report) ? "decode reads each layer as soon as it is computed"
                        : "each layer leaves as soon as it is computed",
        "tail");
  }
  add(is_push_after ? report.handoff : report.push_after, "push-after",
      "every layer leaves only when all of prefill is done", "transfer");
  return all;
}

// Since prefill began, for all sections; the request is shown where it was not long before.
TimeAxis overview_axis(const std::vector<Section>& all) {
  double begin = 0;
  double end = 0;
  for (const Section& section : all) {
    const HandoffTimes& handoff = section.handoff;
    if (last_moment_ns(handoff) == 0) continue;
    end = std::max(end, to_ms(last_moment_ns(handoff) - handoff.prefill_begin_ns));
    if (handoff.requested_ns != 0) {
      begin = std::min(begin, to_ms(handoff.requested_ns - handoff.prefill_begin_ns));
    }
  }
  if (end <= 0) end = 1;
  return {std::max(begin, -0.25 * end), end * 1.02, kOverviewX, kOverviewWidth};
}

// Since prefill ended, for all sections: all that comes after, and before it as much as shows a few
// layers without making what comes after too small to read.
TimeAxis detail_axis(const std::vector<Section>& all) {
  double after = 0;
  double layer = 0;
  for (const Section& section : all) {
    const HandoffTimes& handoff = section.handoff;
    const int64_t end_ns = last_computed_ns(handoff);
    if (end_ns == 0) continue;
    after = std::max(after, to_ms(last_moment_ns(handoff) - end_ns));
    const std::vector<ComputeSpan> spans = compute_spans(handoff);
    if (!spans.empty()) layer = std::max(layer, to_ms(spans.back().end_ns - spans.back().begin_ns));
  }
  if (after <= 0) after = std::max(layer, 1e-3);
  const double before = std::clamp(4.5 * layer, 0.3 * after, 2.0 * after);
  return {-before, after * 1.06, kDetailX, kDetailWidth};
}

void draw_tile(SvgWriter& svg, const Box& box, std::string_view name, std::string_view value,
               std::string_view note, std::string_view fill) {
  svg.rect(box, colour::kBand, 6);
  svg.text({box.x + 14, box.y + 20}, name, {.size = 12.5, .fill = colour::kMuted});
  svg.text({box.x + 14, box.y + 45}, value, {.size = 21, .fill = fill, .bold = true});
  svg.text({box.x + 14, box.y + 63}, note, {.size = 12.5, .fill = colour::kMuted});
}

void draw_header(SvgWriter& svg, const RunReport& report) {
  svg.text({kMargin, 42}, "One request: KV handed from prefill to decode",
           {.size = 22, .bold = true});
  svg.text({kMargin, 65},
           fmt::format("{} \u00b7 {} in {} \u00b7 {} of KV ({}) \u00b7 {} over {}",
                       model_name(report.model),
                       format_count_of(report.prompt_token_ids.size(), "prompt token"),
                       format_count_of(report.handoff.chunks.size(), "chunk"),
                       format_bytes(report.handoff.kv_bytes), clean_text(report.kv_dtype),
                       clean_text(report.hand_off), clean_text(report.transport)),
           {.size = 14, .fill = colour::kMuted});

  const double width = (kWidth - 2 * kMargin - 3 * 14) / 4;
  const auto tile = [&](int index) { return Box{kMargin + index * (width + 14), 80, width, 74}; };
  const bool measured = report.clock_is_shared;
  draw_tile(svg, tile(0), "tail: last layer computed to placed",
            measured ? duration(report.tail_ns) : "unknown",
            measured ? "push-after: " + duration(report.push_after_transfer_ns)
                     : "prefill and decode have different clocks",
            colour::kPlaced);
  draw_tile(svg, tile(1), "hidden behind prefill's compute",
            measured ? format_share(report.hidden_share) : "unknown",
            "of the transfer that push-after waits for", colour::kInk);
  draw_tile(svg, tile(2), "time to first token", duration(report.ttft_disaggregated_ns),
            fmt::format("monolithic {} \u00b7 push-after {}", duration(report.ttft_monolithic_ns),
                        duration(report.ttft_push_after_ns)),
            colour::kToken);
  draw_tile(svg, tile(3), "against the monolithic run", report.equal() ? "equal" : "UNEQUAL",
            fmt::format("{} of KV, {} compared", format_bytes(report.kv_bytes_compared),
                        format_count_of(report.monolithic.tokens.size(), "token")),
            report.equal() ? colour::kSeen : colour::kPlaced);
}

// Shows which part of the overview the detail magnifies.
void draw_lens(SvgWriter& svg, const TimelinePanel& overview, const TimelinePanel& detail,
               double height) {
  const double end_ms =
      to_ms(detail.zero_ns - overview.zero_ns);  // of prefill, on the overview's axis
  const double from = std::max(overview.axis.at(end_ms + detail.axis.begin_ms), overview.axis.x);
  const double to = std::min(overview.axis.at(end_ms + detail.axis.end_ms),
                             overview.axis.x + overview.axis.width);
  const Box lens = {from, overview.y - 5, std::max(to - from, 2.0), height + 5};
  svg.frame(lens, colour::kMuted, 2);
  const double right = lens.x + lens.width;
  const double detail_left = detail.axis.x - 52;
  svg.line({right, lens.y}, {detail_left, lens.y}, colour::kMuted, 1, "2 3");
  svg.line({right, lens.y + lens.height}, {detail_left, lens.y + lens.height}, colour::kMuted, 1,
           "2 3");
}

// The height that it took.
double draw_section(SvgWriter& svg, const Section& section, const TimeAxis& overview_time,
                    const TimeAxis& detail_time, double y, double row_height) {
  svg.text({kMargin, y + 18}, section.title, {.size = 16, .bold = true});
  svg.text({kMargin + 108, y + 18}, section.subtitle, {.size = 14, .fill = colour::kMuted});
  TimelinePanel overview;
  overview.handoff = &section.handoff;
  overview.zero_ns = section.handoff.prefill_begin_ns;
  overview.axis = overview_time;
  overview.y = y + 36;
  overview.row_height = row_height;
  TimelinePanel detail = overview;
  detail.zero_ns = last_computed_ns(section.handoff);
  detail.axis = detail_time;
  detail.magnified = true;
  detail.transfer_name = section.transfer_name;

  const double height = panel_height(section.handoff.layers.size(), row_height);
  draw_panel(svg, overview);
  draw_panel(svg, detail);
  draw_lens(svg, overview, detail, height);
  const double caption_y = overview.y + height + 33;
  const TextStyle caption = {.size = 12.5, .fill = colour::kMuted, .anchor = Anchor::kMiddle};
  svg.text({overview.axis.x + overview.axis.width / 2, caption_y},
           "ms since prefill began (whole request)", caption);
  svg.text({detail.axis.x + detail.axis.width / 2, caption_y}, "ms since prefill ended (magnified)",
           caption);
  return 36 + height + 33 + 22;
}

void draw_legend(SvgWriter& svg, double y, const RunReport& report) {
  double x = kMargin;
  const auto advance = [&](std::string_view name) {
    svg.text({x + 30, y + 5}, name, {.size = 13});
    x += 30 + text_width(name, 13) + 22;
  };
  svg.rect({x, y - 5, 12, 10}, colour::kComputed);
  svg.rect({x + 12, y - 5, 12, 10}, colour::kComputedOdd);
  advance("layer being computed, chunk by chunk (its end: computed)");
  svg.rect({x, y - 2, 24, 4}, colour::kHeld);
  advance("computed, not yet posted");
  svg.line({x + 12, y - 7}, {x + 12, y + 7}, colour::kInk, 1.6);
  advance(is_pull(report) ? "posted: decode was told to read its last tokens"
                          : "posted: the transport took its last unit");
  svg.rect({x, y - 5, 24, 10}, colour::kMoving);
  advance("on its way");
  x = kMargin;
  y += 26;
  svg.circle({x + 12, y}, 4.5, colour::kPlaced);
  advance("placed in decode's memory, and counted");
  svg.rect({x, y - 2, 24, 4}, colour::kReady);
  advance("placed, decode not there yet");
  svg.rect({x + 10.5, y - 7, 3, 14}, colour::kSeen);
  advance("seen: decode's first step passed its gate");
  svg.diamond({x + 12, y}, 6, colour::kToken);
  advance("first token");
}

}  // namespace

std::string timeline_svg(const RunReport& report) {
  const std::vector<Section> all = sections(report);
  const TimeAxis overview_time = overview_axis(all);
  const TimeAxis detail_time = detail_axis(all);
  const size_t num_layers = report.handoff.layers.size();
  const double row_height =
      std::clamp(320.0 / std::max<double>(1, static_cast<double>(num_layers)), 4.0, 22.0);

  SvgWriter body;
  draw_header(body, report);
  double y = kHeaderHeight + 22;
  if (all.empty()) {
    body.text({kMargin, y + 18}, "Nothing was handed over.", {.size = 16, .bold = true});
    y += 40;
  }
  for (const Section& section : all) {
    y += draw_section(body, section, overview_time, detail_time, y, row_height);
  }
  if (!all.empty()) {
    draw_legend(body, y + 8, report);
    y += kLegendHeight;
  }
  const std::string tail = report.clock_is_shared
                               ? fmt::format("Tail {}, hidden share {}. ", duration(report.tail_ns),
                                             format_share(report.hidden_share))
                               : "";
  return body.finish(
      kWidth, y, "Hand-off of one request from prefill to decode",
      fmt::format("{}Time to first token {}.", tail, duration(report.ttft_disaggregated_ns)));
}

}  // namespace baton_engine
