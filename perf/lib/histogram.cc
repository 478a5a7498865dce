#include "perf/lib/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace baton_perf {
namespace {

// A value with more than kExactBits significant bits keeps its first kExactBits: 128 buckets an
// octave.
constexpr uint32_t kExactBits = 8;
constexpr uint32_t kBucketsPerOctave = 1u << (kExactBits - 1);
constexpr uint32_t kBuckets = (64 - kExactBits) * kBucketsPerOctave + (1u << kExactBits);

}  // namespace

Histogram::Histogram() : buckets_(kBuckets, 0) {}

uint32_t Histogram::bucket_of(uint64_t value) {
  const auto width = static_cast<uint32_t>(std::bit_width(value));
  const uint32_t shift = width > kExactBits ? width - kExactBits : 0;
  return shift * kBucketsPerOctave + static_cast<uint32_t>(value >> shift);
}

uint64_t Histogram::middle_of(uint32_t bucket) {
  if (bucket < (1u << kExactBits)) return bucket;
  const uint32_t shift = bucket / kBucketsPerOctave - 1;
  const uint64_t leading = bucket - shift * kBucketsPerOctave;
  return (leading << shift) + ((uint64_t{1} << shift) - 1) / 2;
}

void Histogram::record(uint64_t value) {
  ++buckets_[bucket_of(value)];
  ++count_;
  sum_ += static_cast<long double>(value);
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
}

void Histogram::merge(const Histogram& other) {
  for (uint32_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

void Histogram::clear() { *this = Histogram(); }

double Histogram::mean() const {
  return count_ == 0 ? 0.0 : static_cast<double>(sum_ / static_cast<long double>(count_));
}

uint64_t Histogram::percentile(double percent) const {
  if (count_ == 0) return 0;
  const double exact_rank = std::ceil(static_cast<double>(count_) * percent / 100.0);
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(exact_rank), 1, count_);
  if (rank == count_) return max_;
  uint64_t seen = 0;
  for (uint32_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::clamp(middle_of(i), min_, max_);
  }
  return max_;
}

}  // namespace baton_perf
