#include "perf/lib/verify.h"

#include <cstring>
#include <string>
#include <vector>

#include "perf/lib/pattern.h"

namespace baton_perf {

using baton::Result;
using baton::StatusCode;

namespace {

Result<uint64_t> difference(const Buffer& target, uint64_t offset_bytes, const std::string& what) {
  return {StatusCode::kInternal, "verification failed: target offset " +
                                     std::to_string(offset_bytes) + " holds byte " +
                                     std::to_string(target.bytes()[offset_bytes]) + ", " + what};
}

}  // namespace

uint64_t batches_to_verify(const Places& places) {
  return places.num_batches() < 2 ? 1 : places.num_batches() / 2;
}

void prepare_source(Buffer& source, uint64_t seed) { fill_pattern(source.bytes(), seed, 0); }

void prepare_target(Buffer& target) {
  std::memset(target.bytes().data(), kPoisonByte, target.bytes().size());
}

Result<uint64_t> verify_target(const Buffer& target, const Places& places, uint64_t seed) {
  const uint64_t run_bytes = places.shape().run_bytes;
  const uint64_t slots = places.shape().footprint_bytes / run_bytes;
  std::vector<bool> written(slots, false);
  uint64_t compared = 0;
  const uint64_t batches = batches_to_verify(places);
  for (uint64_t b = 0; b < batches; ++b) {
    for (const Place& place : places.batch(b)) {
      const auto bytes = target.bytes().subspan(place.target_offset_bytes, run_bytes);
      if (const auto at = find_pattern_difference(bytes, seed, place.source_offset_bytes)) {
        return difference(target, place.target_offset_bytes + *at,
                          "not that of source offset " +
                              std::to_string(place.source_offset_bytes + *at) + " (batch " +
                              std::to_string(b) + ")");
      }
      written[place.target_offset_bytes / run_bytes] = true;
      compared += run_bytes;
    }
  }
  for (uint64_t slot = 0; slot < slots; ++slot) {
    if (written[slot]) continue;
    const auto bytes = target.bytes().subspan(slot * run_bytes, run_bytes);
    if (const auto at = find_other_byte(bytes, kPoisonByte)) {
      return difference(target, slot * run_bytes + *at, "where no run was to be placed");
    }
  }
  const uint64_t tail = slots * run_bytes;
  if (const auto at = find_other_byte(target.bytes().subspan(tail), kPoisonByte)) {
    return difference(target, tail + *at, "behind the last run");
  }
  const baton::Status guards = target.check_guards();
  if (!guards.is_ok()) return guards;
  return compared;
}

}  // namespace baton_perf
