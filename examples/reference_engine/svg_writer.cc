#include "examples/reference_engine/svg_writer.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "examples/reference_engine/report_format.h"

namespace baton_engine {

namespace {

// Two digits after the point, without zeros that say nothing.
std::string number(double value) {
  std::string text = fmt::format("{:.2f}", std::isfinite(value) ? value : 0.0);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char character : clean_text(text)) {
    switch (character) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += character;
    }
  }
  return escaped;
}

std::string_view anchor_name(Anchor anchor) {
  switch (anchor) {
    case Anchor::kStart:
      return "start";
    case Anchor::kMiddle:
      return "middle";
    case Anchor::kEnd:
      return "end";
  }
  return "start";
}

std::string attributes(const Box& box) {
  return fmt::format(R"(x="{}" y="{}" width="{}" height="{}")", number(box.x), number(box.y),
                     number(box.width), number(box.height));
}

std::string rounding(double radius) {
  return radius > 0 ? fmt::format(R"( rx="{}")", number(radius)) : "";
}

}  // namespace

void SvgWriter::rect(const Box& box, std::string_view fill, double radius) {
  fmt::format_to(std::back_inserter(body_), "<rect {}{} fill=\"{}\"/>\n", attributes(box),
                 rounding(radius), fill);
}

void SvgWriter::frame(const Box& box, std::string_view stroke, double radius) {
  fmt::format_to(std::back_inserter(body_), "<rect {}{} fill=\"none\" stroke=\"{}\"/>\n",
                 attributes(box), rounding(radius), stroke);
}

void SvgWriter::line(Point from, Point to, std::string_view stroke, double width,
                     std::string_view dashes) {
  fmt::format_to(std::back_inserter(body_),
                 R"(<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="{}" stroke-width="{}"{}/>)"
                 "\n",
                 number(from.x), number(from.y), number(to.x), number(to.y), stroke, number(width),
                 dashes.empty() ? "" : fmt::format(R"( stroke-dasharray="{}")", dashes));
}

void SvgWriter::circle(Point centre, double radius, std::string_view fill) {
  fmt::format_to(std::back_inserter(body_), "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\"/>\n",
                 number(centre.x), number(centre.y), number(radius), fill);
}

void SvgWriter::diamond(Point centre, double radius, std::string_view fill) {
  const std::string r = number(radius);
  fmt::format_to(std::back_inserter(body_),
                 "<path d=\"M{} {}l{} {}l-{} {}l-{} -{}z\" fill=\"{}\"/>\n", number(centre.x),
                 number(centre.y - radius), r, r, r, r, r, r, fill);
}

void SvgWriter::text(Point at, std::string_view text, const TextStyle& style) {
  fmt::format_to(std::back_inserter(body_),
                 R"(<text x="{}" y="{}" font-size="{}" fill="{}" text-anchor="{}"{}>{}</text>)"
                 "\n",
                 number(at.x), number(at.y), number(style.size), style.fill,
                 anchor_name(style.anchor), style.bold ? R"( font-weight="bold")" : "",
                 escape(text));
}

void SvgWriter::tooltip(const Box& box, std::string_view text) {
  fmt::format_to(std::back_inserter(body_),
                 "<rect {} fill=\"#000\" fill-opacity=\"0\"><title>{}</title></rect>\n",
                 attributes(box), escape(text));
}

void SvgWriter::add_to_path(const Box& box) {
  const std::string width = number(box.width);
  fmt::format_to(std::back_inserter(path_), "M{} {}h{}v{}h-{}z", number(box.x), number(box.y),
                 width, number(box.height), width);
}

void SvgWriter::path(std::string_view fill) {
  if (path_.empty()) return;
  fmt::format_to(std::back_inserter(body_), "<path d=\"{}\" fill=\"{}\"/>\n", path_, fill);
  path_.clear();
}

std::string SvgWriter::finish(double width, double height, std::string_view title,
                              std::string_view description) const {
  return fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}")"
      R"( role="img" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif">)"
      "\n<title>{2}</title>\n<desc>{3}</desc>\n"
      R"(<rect x="0.5" y="0.5" width="{4}" height="{5}" rx="8" fill="{6}" stroke="{7}"/>)"
      "\n{8}</svg>\n",
      number(width), number(height), escape(title), escape(description), number(width - 1),
      number(height - 1), colour::kPaper, colour::kGrid, body_);
}

double text_width(std::string_view text, double size) {
  double width = 0;
  // Continuation bytes of UTF-8 take no room.
  for (const char character : text) {
    if ((static_cast<unsigned char>(character) & 0xc0) != 0x80) width += 0.57 * size;
  }
  return width;
}

}  // namespace baton_engine
