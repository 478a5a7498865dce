// docs/errors.md has one row for each StatusCode, and it is whole.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "baton/metrics.h"

namespace baton {
namespace {

std::vector<std::string> cells_of(const std::string& row) {
  std::vector<std::string> cells;
  std::istringstream parts(row.substr(1));
  std::string cell;
  while (std::getline(parts, cell, '|')) {
    const size_t first = cell.find_first_not_of(' ');
    const size_t last = cell.find_last_not_of(' ');
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

// The rows of the table "What each code means", by their first cell.
std::map<std::string, std::vector<std::string>> rows_of_document() {
  std::ifstream file(std::string(BATON_SOURCE_DIR) + "/docs/errors.md");
  EXPECT_TRUE(file.is_open());
  std::map<std::string, std::vector<std::string>> rows;
  std::string line;
  bool in_section = false;
  while (std::getline(file, line)) {
    if (line.starts_with("## ")) in_section = line == "## What each code means";
    static const std::regex row_pattern(R"re(\| [A-Z_]+ \([0-9]+\) \|.*)re");
    if (!in_section || !std::regex_match(line, row_pattern)) continue;
    const auto cells = cells_of(line);
    EXPECT_TRUE(rows.emplace(cells[0], cells).second) << "twice: " << cells[0];
  }
  return rows;
}

TEST(ErrorsDocument, EachCodeHasOneWholeRow) {
  const auto rows = rows_of_document();
  EXPECT_EQ(rows.size(), kNumStatusCodes);
  for (size_t i = 0; i < kNumStatusCodes; ++i) {
    const std::string name(status_code_name(static_cast<StatusCode>(i)));
    EXPECT_NE(name, "UNKNOWN") << i;
    const auto row = rows.find(name + " (" + std::to_string(i) + ")");
    ASSERT_NE(row, rows.end()) << name << " (" << i << ") has no row";
    ASSERT_EQ(row->second.size(), 5u) << name;
    for (size_t cell = 0; cell < 4; ++cell) EXPECT_NE(row->second[cell], "") << name << " " << cell;
    if (i != 0) {
      EXPECT_NE(row->second[4], "") << name << ": what to do";
    }
  }
  // The last code is the last that there is.
  EXPECT_EQ(status_code_name(static_cast<StatusCode>(kNumStatusCodes)),
            status_code_name(static_cast<StatusCode>(255)));
}

}  // namespace
}  // namespace baton
