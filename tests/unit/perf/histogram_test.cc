#include "perf/lib/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/support/test_seed.h"

namespace baton_perf {
namespace {

TEST(HistogramTest, EmptyAnswersZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.min(), 0u);
  EXPECT_EQ(histogram.max(), 0u);
  EXPECT_EQ(histogram.percentile(99), 0u);
  EXPECT_EQ(histogram.mean(), 0.0);
}

TEST(HistogramTest, SmallValuesAreExact) {
  Histogram histogram;
  for (uint64_t value = 0; value < 256; ++value) histogram.record(value);
  EXPECT_EQ(histogram.percentile(50), 127u);
  EXPECT_EQ(histogram.percentile(100), 255u);
  EXPECT_EQ(histogram.percentile(0.0001), 0u);
}

TEST(HistogramTest, ExtremesAreExact) {
  Histogram histogram;
  histogram.record(UINT64_MAX);
  histogram.record(12345678901u);
  EXPECT_EQ(histogram.min(), 12345678901u);
  EXPECT_EQ(histogram.max(), UINT64_MAX);
  EXPECT_EQ(histogram.percentile(100), UINT64_MAX);
}

TEST(HistogramTest, EachValueAloneIsWithinOnePercent) {
  std::mt19937_64 random(baton_test::test_seed());
  Histogram histogram;
  for (int i = 0; i < 500; ++i) {
    const uint64_t value = random() >> (random() % 64);
    histogram.clear();
    histogram.record(value);
    histogram.record(UINT64_MAX);  // keeps min and max from correcting the answer
    histogram.record(0);
    const auto answer = static_cast<double>(histogram.percentile(60));
    EXPECT_NEAR(answer, static_cast<double>(value), static_cast<double>(value) * 0.01) << value;
  }
}

TEST(HistogramTest, PercentilesAgreeWithSortedValues) {
  std::mt19937_64 random(baton_test::test_seed());
  std::lognormal_distribution<double> latencies(10, 2);
  std::vector<uint64_t> values;
  Histogram histogram;
  for (int i = 0; i < 50000; ++i) {
    values.push_back(static_cast<uint64_t>(latencies(random)));
    histogram.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double percent : {1.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    const double rank = std::ceil(static_cast<double>(values.size()) * percent / 100);
    const auto expected = static_cast<double>(values[static_cast<size_t>(rank) - 1]);
    EXPECT_NEAR(static_cast<double>(histogram.percentile(percent)), expected, expected * 0.01)
        << percent;
  }
}

TEST(HistogramTest, MergeIsRecordingBoth) {
  Histogram low, high, both;
  for (uint64_t i = 1; i <= 1000; ++i) {
    low.record(i);
    high.record(i * 1000);
    both.record(i);
    both.record(i * 1000);
  }
  low.merge(high);
  EXPECT_EQ(low.count(), both.count());
  EXPECT_EQ(low.min(), both.min());
  EXPECT_EQ(low.max(), both.max());
  EXPECT_EQ(low.mean(), both.mean());
  EXPECT_EQ(low.percentile(50), both.percentile(50));
  low.merge(Histogram());
  EXPECT_EQ(low.min(), 1u);
  low.clear();
  EXPECT_EQ(low.count(), 0u);
}

}  // namespace
}  // namespace baton_perf
