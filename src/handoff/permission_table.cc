#include "src/handoff/permission_table.h"

#include <algorithm>
#include <tuple>

namespace baton::handoff {

void PermissionTable::seal() {
  const auto key = [](const Range& range) {
    return std::tuple(range.section, range.begin, range.end);
  };
  std::sort(ranges_.begin(), ranges_.end(),
            [&](const Range& a, const Range& b) { return key(a) < key(b); });
  size_t kept = 0;
  for (size_t i = 1; i < ranges_.size(); ++i) {
    Range& last = ranges_[kept];
    if (ranges_[i].section == last.section && ranges_[i].begin <= last.end) {
      last.end = std::max(last.end, ranges_[i].end);
    } else {
      ranges_[++kept] = ranges_[i];
    }
  }
  if (!ranges_.empty()) ranges_.resize(kept + 1);
  hint_ = 0;
}

uint8_t* PermissionTable::find(uint32_t section, uint64_t offset, uint64_t length) {
  if (ranges_.empty()) return nullptr;
  for (size_t i = hint_; i < std::min(hint_ + 2, ranges_.size()); ++i) {
    if (holds(ranges_[i], section, offset, length)) {
      hint_ = i;
      return ranges_[i].memory + offset;
    }
  }
  auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), std::tuple(section, offset),
                       [](const std::tuple<uint32_t, uint64_t>& value, const Range& range) {
                         return value < std::tuple(range.section, range.begin);
                       });
  if (after == ranges_.begin()) return nullptr;
  --after;
  if (!holds(*after, section, offset, length)) return nullptr;
  hint_ = static_cast<size_t>(after - ranges_.begin());
  return after->memory + offset;
}

}  // namespace baton::handoff
