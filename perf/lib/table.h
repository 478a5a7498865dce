// Table: aligned columns for people.
#pragma once

#include <string>
#include <vector>

namespace baton_perf {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  // REQUIRES: as many cells as the header has.
  void add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // First column left-aligned, the others right-aligned, a line under the header.
  std::string render() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "%.*f".
std::string fixed(double value, int digits);

}  // namespace baton_perf
