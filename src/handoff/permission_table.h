// PermissionTable: the byte ranges that one Grant opens to its writer, asked before each chunk is
// placed by software.
//
// Thread rule: built by one thread, then read by the data thread only.
#pragma once

#include <cstdint>
#include <vector>

#include "baton/ids.h"

namespace baton::handoff {

class PermissionTable {
 public:
  struct Range {
    uint32_t section = 0;
    uint64_t begin = 0;  // [begin, end) within the section
    uint64_t end = 0;
    uint8_t* memory = nullptr;  // address of byte 0 of the section
  };

  void add(const Range& range) { ranges_.push_back(range); }
  // Sorts and joins what adjoins or overlaps. Call once, after the last add().
  void seal();

  // The memory of [offset, offset + length) of `section`, or nullptr when a byte of it lies
  // outside. O(1) for chunks that follow each other, O(log ranges) otherwise. Allocates nothing.
  uint8_t* find(uint32_t section, uint64_t offset, uint64_t length);

  size_t num_ranges() const { return ranges_.size(); }
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  bool holds(const Range& range, uint32_t section, uint64_t offset, uint64_t length) const {
    return range.section == section && offset >= range.begin && offset < range.end &&
           length <= range.end - offset;
  }

  std::vector<Range> ranges_;
  size_t hint_ = 0;  // where the last chunk was found
};

}  // namespace baton::handoff
