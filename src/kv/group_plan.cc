#include "src/kv/group_plan.h"

#include <algorithm>
#include <numeric>

namespace baton::kv {
namespace {

// Units of one block visit whose last token lies in `range`.
uint64_t count_visit(const Geometry& geometry, TokenRange visit, TokenRange range) {
  if (geometry.row_part_bytes < geometry.row_bytes) {
    // Each row alone, in parts: walking them would take time by the bytes.
    const uint32_t begin = std::max(visit.begin, range.begin);
    const uint32_t end = std::min(visit.end, range.end);
    const uint64_t parts =
        (geometry.row_bytes + geometry.row_part_bytes - 1) / geometry.row_part_bytes;
    return begin < end ? uint64_t{end - begin} * geometry.sent_heads * parts : 0;
  }
  BlockWalk walk(geometry, visit);
  UnitRows unit;
  uint64_t count = 0;
  while (walk.next(unit)) {
    if (unit.last_token >= range.begin && unit.last_token < range.end) ++count;
  }
  return count;
}

}  // namespace

TokenRange tokens_of_block(const GroupPlan& group, uint32_t block) {
  const uint64_t size = group.geometry.target_block_tokens;
  const uint64_t begin = std::max<uint64_t>(block * size, group.tokens.begin);
  const uint64_t end = std::min<uint64_t>((block + 1) * size, group.tokens.end);
  return {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
}

TokenRange clip(const GroupPlan& group, TokenRange chunk) {
  const TokenRange clipped{std::max(chunk.begin, group.tokens.begin),
                           std::min(chunk.end, group.tokens.end)};
  return clipped.is_empty() ? TokenRange{} : clipped;
}

uint64_t count_units(const GroupPlan& group, TokenRange range) {
  if (range.is_empty()) return 0;
  const Geometry& geometry = group.geometry;
  const uint32_t size = geometry.target_block_tokens;
  const uint64_t period =
      geometry.source_block_tokens / std::gcd(geometry.source_block_tokens, size);
  const uint32_t first = range.begin / size;
  const uint32_t end = (range.end - 1) / size + 1;
  // Blocks [full_first, full_end) lie within the range and are planned whole; at most one on each
  // side does not.
  const auto is_full = [&](uint32_t block) {
    const TokenRange visit = tokens_of_block(group, block);
    return visit.end - visit.begin == size && visit.begin >= range.begin && visit.end <= range.end;
  };
  const uint32_t full_first = is_full(first) ? first : first + 1;
  const uint32_t full_end = end > full_first && !is_full(end - 1) ? end - 1 : end;

  uint64_t count = 0;
  if (full_first > first) count += count_visit(geometry, tokens_of_block(group, first), range);
  if (full_end < end) count += count_visit(geometry, tokens_of_block(group, full_end), range);
  const uint64_t num_full = full_end - full_first;
  for (uint64_t i = 0; i < std::min(period, num_full); ++i) {
    const TokenRange visit = tokens_of_block(group, full_first + static_cast<uint32_t>(i));
    const uint64_t alike = (num_full - i + period - 1) / period;
    count += count_visit(geometry, visit, visit) * alike;
  }
  return count;
}

}  // namespace baton::kv
