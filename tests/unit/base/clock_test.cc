#include "src/base/clock.h"

#include <gtest/gtest.h>

namespace baton::base {
namespace {

TEST(ClockTest, MonotonicNeverGoesBack) {
  const MonotonicClock clock;
  int64_t last_ns = clock.now_ns();
  EXPECT_GT(last_ns, 0);
  for (int i = 0; i < 1000; ++i) {
    const int64_t now_ns = clock.now_ns();
    ASSERT_GE(now_ns, last_ns);
    last_ns = now_ns;
  }
}

TEST(ClockTest, ManualMovesOnlyWhenMoved) {
  ManualClock clock(100);
  EXPECT_EQ(clock.now_ns(), 100);
  EXPECT_EQ(clock.now_ns(), 100);
  clock.advance_ns(0);
  EXPECT_EQ(clock.now_ns(), 100);
  clock.advance_ns(23);
  EXPECT_EQ(clock.now_ns(), 123);
}

TEST(ClockDeathTest, ManualDoesNotGoBack) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ManualClock clock;
  EXPECT_DEATH(clock.advance_ns(-1), "never goes back");
}

}  // namespace
}  // namespace baton::base
