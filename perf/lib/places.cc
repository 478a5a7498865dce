#include "perf/lib/places.h"

#include <random>
#include <string>

#include "perf/lib/size.h"

namespace baton_perf {

using baton::Result;
using baton::StatusCode;

namespace {

// Fisher-Yates by hand: std::shuffle may differ between libraries, and both sides need one answer.
std::vector<uint64_t> shuffled(uint64_t count, std::mt19937_64& random) {
  std::vector<uint64_t> order(count);
  for (uint64_t i = 0; i < count; ++i) order[i] = i;
  for (uint64_t i = count; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  return order;
}

}  // namespace

Result<Places> Places::create(const Shape& shape, uint32_t batches_in_flight) {
  if (shape.run_bytes == 0) return {StatusCode::kInvalidArgument, "run bytes must be above 0"};
  if (shape.runs_per_batch == 0) return {StatusCode::kInvalidArgument, "runs must be above 0"};
  if (batches_in_flight == 0) return {StatusCode::kInvalidArgument, "in-flight must be above 0"};
  if (shape.run_bytes > UINT64_MAX / shape.runs_per_batch / batches_in_flight) {
    return {StatusCode::kInvalidArgument, "run bytes x runs x in-flight is past 2^64"};
  }
  const uint64_t slots = shape.footprint_bytes / shape.run_bytes;
  const uint64_t needed = uint64_t{shape.runs_per_batch} * batches_in_flight;
  if (slots < needed) {
    return {StatusCode::kInvalidArgument, "the footprint of " + format_size(shape.footprint_bytes) +
                                              " holds " + std::to_string(slots) + " runs of " +
                                              format_size(shape.run_bytes) + ", and " +
                                              std::to_string(needed) + " are in flight"};
  }
  std::mt19937_64 random(shape.seed);
  const std::vector<uint64_t> sources = shuffled(slots, random);
  const std::vector<uint64_t> targets = shuffled(slots, random);
  Places places(shape);
  places.places_.resize(slots);
  for (uint64_t i = 0; i < slots; ++i) {
    places.places_[i] = {sources[i] * shape.run_bytes, targets[i] * shape.run_bytes};
  }
  places.num_batches_ = slots / shape.runs_per_batch;
  return places;
}

}  // namespace baton_perf
