// Counters that one thread writes on the data path and others read at any time.
//
// Invariants: add() and observe() allocate, lock and fence nothing. Values never fall.
//
// Thread rule: every function from any thread; relaxed throughout, since a count orders nothing.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "baton/metrics.h"

namespace baton::base {

class Count {
 public:
  void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Durations {
 public:
  // What is negative, by clocks read in an unlucky order, is 0.
  void observe(int64_t duration_ns) {
    const auto ns = static_cast<uint64_t>(std::max<int64_t>(duration_ns, 0));
    counts_[bucket_of(ns)].add();
    sum_ns_.add(ns);
  }
  // The sum of both.
  void add_to(DurationHistogram& out) const {
    for (size_t i = 0; i < counts_.size(); ++i) out.counts[i] += counts_[i].value();
    out.sum_ns += sum_ns_.value();
  }
  void add(const Durations& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i].add(other.counts_[i].value());
    sum_ns_.add(other.sum_ns_.value());
  }

  // Bucket i holds (upper_bound(i - 1), upper_bound(i)].
  static size_t bucket_of(uint64_t ns) {
    const auto width = static_cast<size_t>(std::bit_width(ns == 0 ? 0 : ns - 1));
    constexpr size_t kFirstWidth = 13;
    return std::min(width <= kFirstWidth ? 0 : width - kFirstWidth, DurationHistogram::kBuckets);
  }

 private:
  std::array<Count, DurationHistogram::kBuckets + 1> counts_;
  Count sum_ns_;
};

}  // namespace baton::base
