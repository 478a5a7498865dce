#include "perf/lib/table.h"

#include <algorithm>
#include <cstdio>

namespace baton_perf {

std::string Table::render() const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t i = 0; i < rows_[r].size(); ++i) {
      const std::string& cell = rows_[r][i];
      const std::string padding(widths[i] - cell.size(), ' ');
      if (i > 0) text += "  ";
      text += i == 0 ? cell + padding : padding + cell;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
    if (r != 0) continue;
    size_t total = 0;
    for (const size_t width : widths) total += width + 2;
    text += std::string(total - 2, '-') + '\n';
  }
  return text;
}

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

}  // namespace baton_perf
