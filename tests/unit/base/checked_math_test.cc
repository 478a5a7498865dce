#include "src/base/checked_math.h"

#include <gtest/gtest.h>

namespace baton::base {
namespace {

TEST(CheckedMathTest, AddKnowsItsLimit) {
  EXPECT_EQ(checked_add(2, 3), 5u);
  EXPECT_EQ(checked_add(UINT64_MAX, 0), UINT64_MAX);
  EXPECT_EQ(checked_add(UINT64_MAX - 1, 1), UINT64_MAX);
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_add(UINT64_MAX, UINT64_MAX), std::nullopt);
}

TEST(CheckedMathTest, MulKnowsItsLimit) {
  EXPECT_EQ(checked_mul(6, 7), 42u);
  EXPECT_EQ(checked_mul(0, UINT64_MAX), 0u);
  EXPECT_EQ(checked_mul(UINT64_MAX, 1), UINT64_MAX);
  EXPECT_EQ(checked_mul(uint64_t{1} << 32, uint64_t{1} << 31), uint64_t{1} << 63);
  EXPECT_EQ(checked_mul(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
}

TEST(CheckedMathTest, RangeFits) {
  EXPECT_TRUE(range_fits(0, 10, 10));
  EXPECT_TRUE(range_fits(10, 0, 10));
  EXPECT_FALSE(range_fits(11, 0, 10));
  EXPECT_FALSE(range_fits(1, 10, 10));
  EXPECT_FALSE(range_fits(1, UINT64_MAX, 10));
  EXPECT_FALSE(range_fits(UINT64_MAX, 1, 10));
  EXPECT_TRUE(range_fits(0, UINT64_MAX, UINT64_MAX));
}

static_assert(checked_add(1, 1) == 2u && checked_mul(2, 2) == 4u && range_fits(0, 0, 0));

}  // namespace
}  // namespace baton::base
