// SvgWriter: the few shapes that the timeline is drawn with, as SVG text.
#pragma once

#include <string>
#include <string_view>

namespace baton_engine {

// Colours that people with any colour vision tell apart (Okabe and Ito), and greys.
namespace colour {
inline constexpr std::string_view kComputed = "#0072b2";
inline constexpr std::string_view kComputedOdd = "#5ba8d6";  // neighbouring chunks alternate
inline constexpr std::string_view kHeld = "#f3c98b";
inline constexpr std::string_view kMoving = "#e69f00";
inline constexpr std::string_view kPlaced = "#c2410c";
inline constexpr std::string_view kReady = "#8fd0bb";
inline constexpr std::string_view kSeen = "#00805e";
inline constexpr std::string_view kToken = "#8f2d73";
inline constexpr std::string_view kInk = "#1b1f24";
inline constexpr std::string_view kMuted = "#57606a";
inline constexpr std::string_view kGrid = "#e3e6ea";
inline constexpr std::string_view kBand = "#f5f6f8";
inline constexpr std::string_view kIdle = "#e6e8ec";
inline constexpr std::string_view kPaper = "#ffffff";
}  // namespace colour

enum class Anchor { kStart, kMiddle, kEnd };

struct Point {
  double x = 0;
  double y = 0;
};

struct Box {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

struct TextStyle {
  double size = 13;
  std::string_view fill = colour::kInk;
  Anchor anchor = Anchor::kStart;
  bool bold = false;
};

class SvgWriter {
 public:
  void rect(const Box& box, std::string_view fill, double radius = 0);
  // Not filled.
  void frame(const Box& box, std::string_view stroke, double radius = 0);
  void line(Point from, Point to, std::string_view stroke, double width,
            std::string_view dashes = "");
  void circle(Point centre, double radius, std::string_view fill);
  void diamond(Point centre, double radius, std::string_view fill);
  // `at` is on the base line. Escapes `text`.
  void text(Point at, std::string_view text, const TextStyle& style);
  // Invisible, and says `text` to a pointer that rests on it.
  void tooltip(const Box& box, std::string_view text);
  // Many boxes of one colour in one element: add_to_path() each, then path().
  void add_to_path(const Box& box);
  void path(std::string_view fill);

  // The whole picture, on paper of its own: a dark page does not shine through. `title` and
  // `description` are for those who cannot see it.
  std::string finish(double width, double height, std::string_view title,
                     std::string_view description) const;

 private:
  std::string body_;
  std::string path_;
};

// About how wide `text` is in a sans-serif font: for leaving out what does not fit.
double text_width(std::string_view text, double size);

}  // namespace baton_engine
