#include "perf/lib/size.h"

#include <charconv>
#include <cstdio>

namespace baton_perf {

using baton::Result;
using baton::StatusCode;

Result<uint64_t> parse_size(std::string_view text) {
  const auto wrong = [&] {
    return Result<uint64_t>(StatusCode::kInvalidArgument,
                            "\"" + std::string(text) +
                                "\" is not a size: write a number of bytes, or one with KiB, MiB "
                                "or GiB behind it (4096, 64KiB, 1MiB)");
  };
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest == text.data()) return wrong();
  const std::string_view unit(rest, static_cast<size_t>(end - rest));
  uint32_t shift = 0;
  if (!unit.empty() && unit != "B") {
    const size_t letter = std::string_view("KMG").find(static_cast<char>(unit[0] & ~0x20));
    if (letter == std::string_view::npos) return wrong();
    if (unit.size() > 1 && unit.substr(1) != "iB" && unit.substr(1) != "ib") return wrong();
    shift = 10 * (static_cast<uint32_t>(letter) + 1);
  }
  if (number > (UINT64_MAX >> shift)) return wrong();
  return number << shift;
}

std::string format_size(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  uint32_t unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024.0 && unit < 4) {
    value /= 1024.0;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g %s", value, kUnits[unit]);
  return text;
}

}  // namespace baton_perf
