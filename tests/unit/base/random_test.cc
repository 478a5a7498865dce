#include "src/base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

#include "tests/support/test_seed.h"

namespace baton::base {
namespace {

// The first outputs of the authors' reference code for seed 1234567.
TEST(RandomTest, SplitMixIsTheReferenceSequence) {
  uint64_t state = 1234567;
  EXPECT_EQ(splitmix64(state), 6457827717110365317u);
  EXPECT_EQ(splitmix64(state), 3203168211198807973u);
  EXPECT_EQ(splitmix64(state), 9817491932198370423u);
}

TEST(RandomTest, SameSeedSameSequence) {
  Random first(baton_test::test_seed());
  Random second(baton_test::test_seed());
  Random other(baton_test::test_seed() + 1);
  int equal_to_other = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = first.next();
    ASSERT_EQ(value, second.next());
    equal_to_other += value == other.next() ? 1 : 0;
  }
  EXPECT_EQ(equal_to_other, 0);
}

TEST(RandomTest, BelowAndBetweenKeepTheirBounds) {
  Random random(baton_test::test_seed());
  std::array<int, 6> faces{};
  for (int i = 0; i < 6000; ++i) ++faces[random.below(6)];
  for (const int count : faces) EXPECT_GT(count, 700);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(random.below(1), 0u);
    const uint64_t value = random.between(10, 12);
    EXPECT_TRUE(value >= 10 && value <= 12);
    EXPECT_LT(random.below((uint64_t{1} << 63) + 1), (uint64_t{1} << 63) + 1);
  }
  EXPECT_EQ(random.between(5, 5), 5u);
  static_cast<void>(random.between(0, UINT64_MAX));
}

TEST(RandomTest, FillReachesEveryByte) {
  Random random(baton_test::test_seed());
  for (const size_t length : {0u, 1u, 7u, 8u, 9u, 31u}) {
    std::vector<uint8_t> ever(length, 0);
    for (int round = 0; round < 64; ++round) {
      std::vector<uint8_t> bytes(length, 0);
      random.fill(bytes);
      for (size_t i = 0; i < length; ++i) ever[i] |= bytes[i];
    }
    for (const uint8_t byte : ever) EXPECT_EQ(byte, 0xff);
  }
}

TEST(RandomTest, SecureBytesDoNotRepeat) {
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(secure_random_u64());
  EXPECT_EQ(seen.size(), 1000u);
  std::vector<uint8_t> large(4096, 0);
  secure_random_bytes(large);
  EXPECT_GT(std::set<uint8_t>(large.begin(), large.end()).size(), 200u);
}

}  // namespace
}  // namespace baton::base
