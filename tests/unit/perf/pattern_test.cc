#include "perf/lib/pattern.h"

#include <gtest/gtest.h>

#include <vector>

namespace baton_perf {
namespace {

TEST(PatternTest, AnyPartEqualsThatPartOfTheWhole) {
  std::vector<uint8_t> whole(200);
  fill_pattern(whole, 5, 0);
  for (size_t begin = 0; begin < 20; ++begin) {
    for (size_t length = 0; length < 40; ++length) {
      std::vector<uint8_t> part(length);
      fill_pattern(part, 5, begin);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<long>(begin)));
      EXPECT_EQ(find_pattern_difference(part, 5, begin), std::nullopt);
    }
  }
}

TEST(PatternTest, EveryWrongByteIsFound) {
  std::vector<uint8_t> bytes(67);
  fill_pattern(bytes, 9, 3);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 1;
    EXPECT_EQ(find_pattern_difference(bytes, 9, 3), i);
    bytes[i] ^= 1;
  }
}

TEST(PatternTest, OtherSeedsAndOffsetsDiffer) {
  std::vector<uint8_t> bytes(4096);
  fill_pattern(bytes, 1, 0);
  EXPECT_TRUE(find_pattern_difference(bytes, 2, 0).has_value());
  EXPECT_TRUE(find_pattern_difference(bytes, 1, 8).has_value());
  EXPECT_TRUE(find_pattern_difference(bytes, 1, 4096).has_value());
}

TEST(PatternTest, OtherByteIsFound) {
  std::vector<uint8_t> bytes(100, 7);
  EXPECT_EQ(find_other_byte(bytes, 7), std::nullopt);
  EXPECT_EQ(find_other_byte({}, 7), std::nullopt);
  EXPECT_EQ(find_other_byte(bytes, 8), 0u);
  bytes[99] = 8;
  EXPECT_EQ(find_other_byte(bytes, 7), 99u);
}

}  // namespace
}  // namespace baton_perf
