#include "examples/reference_engine/timeline_closeup.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "examples/reference_engine/report_format.h"

namespace baton_engine {

namespace {

struct Moment {
  std::string_view name;
  int64_t at_ns;
  double x;
};

void draw_bars(SvgWriter& svg, const std::vector<Moment>& moments, double left, double y) {
  const auto x_of = [&](std::string_view name, std::string_view otherwise) {
    double x = left;
    for (const Moment& moment : moments) {
      if (moment.name == otherwise) x = moment.x;
    }
    for (const Moment& moment : moments) {
      if (moment.name == name) x = moment.x;
    }
    return x;
  };
  const double computed = x_of("computed", "");
  const double posted = x_of("posted", "computed");
  const double placed = x_of("placed", "");
  const double seen = x_of("seen", "placed");
  const auto bar = [&](double from, double to, double height, std::string_view fill) {
    if (to > from) svg.rect({from, y - height / 2, to - from, height}, fill);
  };
  bar(left, computed, 16, colour::kComputed);
  bar(computed, posted, 5, colour::kHeld);
  bar(posted, placed, 16, colour::kMoving);
  bar(placed, seen, 5, colour::kReady);
  if (posted > computed) svg.line({posted, y - 10}, {posted, y + 10}, colour::kInk, 1.6);
  svg.circle({placed, y}, 5, colour::kPlaced);
  if (seen > placed) svg.rect({seen - 1.75, y - 10, 3.5, 20}, colour::kSeen);
}

}  // namespace

void draw_closeup(SvgWriter& svg, const LayerTimes& layer, Point corner, double width) {
  svg.rect({corner.x, corner.y, width, kCloseupHeight}, colour::kPaper, 6);
  svg.frame({corner.x, corner.y, width, kCloseupHeight}, colour::kMuted, 6);
  svg.text({corner.x + 14, corner.y + 20},
           fmt::format("layer {}, magnified more: ms since it was computed", layer.layer),
           {.size = 12.5, .fill = colour::kMuted});

  std::vector<Moment> moments = {{"computed", layer.computed_ns, 0},
                                 {"posted", layer.posted_ns, 0},
                                 {"placed", layer.placed_ns, 0},
                                 {"seen", layer.seen_ns, 0}};
  std::erase_if(moments, [](const Moment& moment) { return moment.at_ns == 0; });
  int64_t last_ns = layer.computed_ns + 1;
  for (const Moment& moment : moments) last_ns = std::max(last_ns, moment.at_ns);
  const double left = corner.x + 14;
  const double begin = left + 0.12 * width;
  const double end = corner.x + width - 40;
  for (Moment& moment : moments) {
    const auto part = static_cast<double>(moment.at_ns - layer.computed_ns) /
                      static_cast<double>(last_ns - layer.computed_ns);
    moment.x = std::max(begin + part * (end - begin), left);
  }

  // Names stand evenly, each with a line to its moment: moments may lie close together.
  const double bar_y = corner.y + 42;
  const double each = (width - 28) / static_cast<double>(moments.size());
  for (size_t index = 0; index < moments.size(); ++index) {
    const Moment& moment = moments[index];
    const Point name = {left + (static_cast<double>(index) + 0.5) * each, corner.y + 92};
    svg.line({moment.x, bar_y + 10}, {name.x, name.y - 14}, colour::kMuted, 0.8);
    const auto since = static_cast<double>(moment.at_ns - layer.computed_ns) * 1e-6;
    svg.text(name, fmt::format("{} {}", moment.name, index == 0 ? "0" : "+" + format_ms(since)),
             {.size = 12.5, .anchor = Anchor::kMiddle});
  }
  draw_bars(svg, moments, left, bar_y);
}

}  // namespace baton_engine
