// Places: where the runs of each batch lie at both ends. Both sides compute the same places from
// the same shape, so no list of them travels.
//
// A buffer of `footprint_bytes` is cut into slots of run_bytes. Two shuffles of the slots, one for
// the source and one for the target, pair them; batch b takes the next runs_per_batch pairs, and
// starts over when all were used. So runs are at random places at both ends, no two runs of
// consecutive batches meet, and a place is not touched again before the whole footprint was.
//
// Thread rule: const after creation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "baton/status.h"

namespace baton_perf {

struct Shape {
  uint64_t run_bytes = 0;
  uint32_t runs_per_batch = 0;
  uint64_t footprint_bytes = 0;
  uint64_t seed = 1;
};

struct Place {
  uint64_t source_offset_bytes = 0;
  uint64_t target_offset_bytes = 0;
};

class Places {
 public:
  // kInvalidArgument: a zero, or a footprint that holds fewer than `batches_in_flight` batches.
  static baton::Result<Places> create(const Shape& shape, uint32_t batches_in_flight);

  // The runs of batch `index`, runs_per_batch of them.
  std::span<const Place> batch(uint64_t index) const {
    const uint64_t first = (index % num_batches_) * shape_.runs_per_batch;
    return std::span(places_).subspan(first, shape_.runs_per_batch);
  }
  // Batches until places repeat.
  uint64_t num_batches() const { return num_batches_; }
  const Shape& shape() const { return shape_; }
  uint64_t batch_bytes() const { return shape_.run_bytes * shape_.runs_per_batch; }

 private:
  explicit Places(const Shape& shape) : shape_(shape) {}

  Shape shape_;
  uint64_t num_batches_ = 0;
  std::vector<Place> places_;
};

}  // namespace baton_perf
