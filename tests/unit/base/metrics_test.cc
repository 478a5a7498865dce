#include "src/base/metrics.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "src/base/meters.h"

namespace baton::base {
namespace {

TEST(Durations, ABucketHoldsItsUpperBound) {
  EXPECT_EQ(DurationHistogram::upper_bound_ns(0), 8192);
  EXPECT_EQ(Durations::bucket_of(0), 0u);
  EXPECT_EQ(Durations::bucket_of(1), 0u);
  for (size_t i = 0; i < DurationHistogram::kBuckets; ++i) {
    const auto bound = static_cast<uint64_t>(DurationHistogram::upper_bound_ns(i));
    EXPECT_EQ(Durations::bucket_of(bound), i);
    EXPECT_EQ(Durations::bucket_of(bound + 1), i + 1);
  }
  EXPECT_EQ(Durations::bucket_of(UINT64_MAX), DurationHistogram::kBuckets);
}

TEST(Durations, CountsAndSumAgree) {
  Durations durations;
  durations.observe(-5);
  durations.observe(8192);
  durations.observe(8193);
  durations.observe(int64_t{100'000'000'000});
  DurationHistogram out;
  durations.add_to(out);
  EXPECT_EQ(out.counts[0], 2u);
  EXPECT_EQ(out.counts[1], 1u);
  EXPECT_EQ(out.counts[DurationHistogram::kBuckets], 1u);
  EXPECT_EQ(out.total(), 4u);
  EXPECT_EQ(out.sum_ns, 8192u + 8193u + 100'000'000'000u);
  Durations both;
  both.observe(1);
  both.add(durations);
  DurationHistogram sum;
  both.add_to(sum);
  EXPECT_EQ(sum.total(), 5u);
  EXPECT_EQ(sum.sum_ns, out.sum_ns + 1);
}

TEST(Count, ManyThreadsLoseNothing) {
  Count count;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) count.add();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count.value(), 40000u);
}

TEST(PathMeters, APhaseKeepsTheTimeOfItsBegin) {
  PathMeters path;
  path.set_phase(PathPhase::kOpen, 10);
  path.set_phase(PathPhase::kOpen, 20);
  EXPECT_EQ(path.phase_since_ns.load(), 10);
  path.set_phase(PathPhase::kFencing, 30);
  EXPECT_EQ(path.phase_since_ns.load(), 30);
}

}  // namespace
}  // namespace baton::base
