#include "tests/support/guarded_buffer.h"

#include <gtest/gtest.h>

namespace baton_test {
namespace {

TEST(GuardedBufferTest, StartsPoisonedAndAligned) {
  GuardedBuffer buffer(1000);
  EXPECT_EQ(buffer.size(), 1000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
  EXPECT_EQ(buffer.check_poisoned(0, 1000), "");
  EXPECT_EQ(buffer.check_guards(), "");
}

TEST(GuardedBufferTest, FindsAWriteOnEitherSide) {
  GuardedBuffer buffer(64);
  buffer.data()[64] = 0;
  EXPECT_EQ(buffer.check_guards(), "guard byte after the buffer 0 is 0, expected 92");
  buffer.data()[64] = GuardedBuffer::kGuard;
  buffer.data()[-1] = 0;
  EXPECT_NE(buffer.check_guards().find("before the buffer"), std::string::npos);
}

TEST(GuardedBufferTest, FindsAByteThatIsNotPoison) {
  GuardedBuffer buffer(64);
  buffer.fill_pattern(1, 10, 4);
  EXPECT_EQ(buffer.check_poisoned(0, 10), "");
  EXPECT_EQ(buffer.check_poisoned(14, 50), "");
  EXPECT_NE(buffer.check_poisoned(0, 64), "");
}

TEST(GuardedBufferTest, PatternDependsOnSeedAndPosition) {
  GuardedBuffer first(4096);
  GuardedBuffer second(4096);
  first.fill_pattern(1);
  second.fill_pattern(1);
  EXPECT_EQ(compare_bytes(first.bytes(), second.bytes()), "");
  second.fill_pattern(2);
  EXPECT_NE(compare_bytes(first.bytes(), second.bytes()), "");
  EXPECT_NE(compare_bytes(first.bytes().first(2048), first.bytes().last(2048)), "");
}

TEST(GuardedBufferTest, CompareNamesTheFirstDifference) {
  const std::vector<uint8_t> expected = {1, 2, 3, 4};
  const std::vector<uint8_t> actual = {1, 9, 3, 8};
  EXPECT_EQ(compare_bytes(expected, actual), "byte 1 is 9, expected 2; 2 bytes differ");
  EXPECT_EQ(compare_bytes(expected, std::span(actual).first(3)), "length is 3, expected 4");
}

}  // namespace
}  // namespace baton_test
