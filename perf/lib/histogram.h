// Histogram: a log-bucketed count of 64-bit values (nanoseconds, bytes), for percentiles of long
// runs in fixed memory.
//
// Invariants:
//  1. Values below 256 are kept exactly; above, a bucket is at most 1/128 of its value wide, and a
//     percentile answers with its middle: the error is below 0.4 %.
//  2. min, max, sum and count are exact. record() does not allocate.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

namespace baton_perf {

class Histogram {
 public:
  Histogram();

  void record(uint64_t value);
  // Adds what `other` has recorded.
  void merge(const Histogram& other);
  void clear();

  uint64_t count() const { return count_; }
  // The four below: 0 while empty.
  uint64_t min() const { return count_ == 0 ? 0 : min_; }
  uint64_t max() const { return max_; }
  double mean() const;
  // The smallest recorded value (to invariant 1) that is >= `percent` % of all. REQUIRES: 0 <
  // percent <= 100.
  uint64_t percentile(double percent) const;

 private:
  static uint32_t bucket_of(uint64_t value);
  static uint64_t middle_of(uint32_t bucket);

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  uint64_t min_ = UINT64_MAX;
  uint64_t max_ = 0;
  long double sum_ = 0;
};

}  // namespace baton_perf
