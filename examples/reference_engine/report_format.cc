#include "examples/reference_engine/report_format.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "examples/reference_engine/utf8.h"

namespace baton_engine {

std::string format_count(uint64_t count) {
  std::string text = std::to_string(count);
  for (size_t position = text.size(); position > 3;) {
    position -= 3;
    text.insert(position, ",");
  }
  return text;
}

std::string format_count_of(uint64_t count, std::string_view thing) {
  return fmt::format("{} {}{}", format_count(count), thing, count == 1 ? "" : "s");
}

std::string format_ms(double milliseconds) {
  const double size = std::abs(milliseconds);
  if (!(size < 1e12)) return "?";
  if (size >= 99.95) {
    const auto whole = static_cast<uint64_t>(std::llround(size));
    return (milliseconds < 0 ? "-" : "") + format_count(whole);
  }
  const int digits = size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
  return fmt::format("{:.{}f}", milliseconds, digits);
}

std::string format_bytes(uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  constexpr std::array<const char*, 4> kUnits = {"KB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, value >= 99.95 ? 0 : 1, kUnits[unit]);
}

std::string format_share(double share) {
  if (!std::isfinite(share)) return "?";
  const double percent = share * 100;
  // Towards zero, so that "100.0 %" is said only of all of it.
  return fmt::format("{:.1f} %", std::trunc(percent * 10 + (percent < 0 ? -1e-6 : 1e-6)) / 10);
}

std::string clean_text(std::string_view text) {
  Utf8Stream stream;
  std::string well_formed = stream.push(text);
  well_formed += stream.finish();
  std::string clean;
  for (const char character : well_formed) {
    const auto byte = static_cast<unsigned char>(character);
    const bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
    if (control) {
      clean += "\xef\xbf\xbd";
    } else {
      clean += character;
    }
  }
  // U+FFFE and U+FFFF are well-formed, and no characters.
  constexpr std::string_view kLast = "\xef\xbf";
  for (size_t at = clean.find(kLast); at != std::string::npos; at = clean.find(kLast, at + 3)) {
    clean[at + 2] = '\xbd';
  }
  return clean;
}

std::string model_name(std::string_view model) {
  if (const size_t slash = model.rfind('/'); slash != std::string_view::npos) {
    model.remove_prefix(slash + 1);
  }
  constexpr std::string_view kSuffix = ".gguf";
  if (model.size() > kSuffix.size() && model.ends_with(kSuffix)) {
    model.remove_suffix(kSuffix.size());
  }
  return clean_text(model);
}

}  // namespace baton_engine
