// PartialSums: where the partial sums of all three parts of a layer meet. A process that computes
// all parts has them in its own memory; tensor-parallel ranks share a place (RankGroup).
//
// Use, for each sum, on each rank alike: write the partials of the parts that it computes to
// partial(), meet(), read the partials of all parts. They stay as they are until the rank's next
// meet() has returned.
//
// Thread rule: one thread, that of the forward pass; others of its ComputePool write and read
// between its calls.
#pragma once

#include <cstdint>

#include "baton/status.h"

namespace baton_engine {

class PartialSums {
 public:
  virtual ~PartialSums() = default;

  // Room for the rows of `part`'s next partial, dense.
  virtual float* partial(uint32_t part) = 0;
  // Waits until every part's partial is there. After an error the pass has no sum, on any rank.
  virtual baton::Status meet() = 0;
  // What `part` wrote before the last meet().
  virtual const float* met(uint32_t part) const = 0;
};

}  // namespace baton_engine
