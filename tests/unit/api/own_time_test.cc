#include "src/api/own_time.h"

#include <gtest/gtest.h>

#include "src/base/clock.h"

namespace baton::api {
namespace {

constexpr int64_t kMsNs = 1'000'000;

TEST(OwnTime, AddsUpRounds) {
  base::ManualClock clock(77);
  OwnTime time(clock.now_ns());
  EXPECT_EQ(time.spent_ns(clock.now_ns()), 0);
  for (int64_t round = 1; round <= 1000; ++round) {
    clock.advance_ns(3 * kMsNs);
    EXPECT_EQ(time.spent_ns(clock.now_ns()), round * 3 * kMsNs);
  }
}

TEST(OwnTime, AStoppedProcessSpendsNothingWorthMentioning) {
  base::ManualClock clock(77);
  OwnTime time(clock.now_ns());
  clock.advance_ns(kMsNs);
  time.spent_ns(clock.now_ns());
  clock.advance_ns(int64_t{3600} * 1000 * kMsNs);
  EXPECT_EQ(time.spent_ns(clock.now_ns()), 11 * kMsNs);
  clock.advance_ns(kMsNs);
  EXPECT_EQ(time.spent_ns(clock.now_ns()), 12 * kMsNs);
}

}  // namespace
}  // namespace baton::api
