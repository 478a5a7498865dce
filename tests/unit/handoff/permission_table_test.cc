#include "src/handoff/permission_table.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

#include "src/base/random.h"
#include "tests/support/test_seed.h"

namespace baton::handoff {
namespace {

uint8_t memory[1000];

PermissionTable table_of(const std::vector<PermissionTable::Range>& ranges) {
  PermissionTable table;
  for (const auto& range : ranges) table.add(range);
  table.seal();
  return table;
}

TEST(PermissionTable, AnEmptyOnePermitsNothing) {
  PermissionTable table = table_of({});
  EXPECT_EQ(table.num_ranges(), 0u);
  EXPECT_EQ(table.find(1, 0, 1), nullptr);
}

TEST(PermissionTable, PermitsWhatLiesInsideAndNothingElse) {
  PermissionTable table = table_of({{3, 100, 200, memory}});
  EXPECT_EQ(table.find(3, 100, 100), memory + 100);
  EXPECT_EQ(table.find(3, 100, 1), memory + 100);
  EXPECT_EQ(table.find(3, 199, 1), memory + 199);
  EXPECT_EQ(table.find(3, 99, 1), nullptr);
  EXPECT_EQ(table.find(3, 99, 2), nullptr);
  EXPECT_EQ(table.find(3, 200, 1), nullptr);
  EXPECT_EQ(table.find(3, 199, 2), nullptr);
  EXPECT_EQ(table.find(3, 100, 101), nullptr);
  EXPECT_EQ(table.find(2, 100, 1), nullptr);
  EXPECT_EQ(table.find(4, 100, 1), nullptr);
}

TEST(PermissionTable, HugeNumbersDoNotWrap) {
  PermissionTable table = table_of({{1, 100, 200, memory}, {1, 300, 400, memory}});
  EXPECT_EQ(table.find(1, 150, UINT64_MAX), nullptr);
  EXPECT_EQ(table.find(1, 150, UINT64_MAX - 149), nullptr);
  EXPECT_EQ(table.find(1, UINT64_MAX, 1), nullptr);
  EXPECT_EQ(table.find(1, UINT64_MAX, UINT64_MAX), nullptr);
}

TEST(PermissionTable, JoinsWhatAdjoinsOrOverlaps) {
  PermissionTable table = table_of(
      {{1, 50, 60, memory}, {1, 10, 20, memory}, {1, 20, 30, memory}, {1, 15, 25, memory}});
  ASSERT_EQ(table.num_ranges(), 2u);
  EXPECT_EQ(table.ranges()[0].begin, 10u);
  EXPECT_EQ(table.ranges()[0].end, 30u);
  EXPECT_EQ(table.find(1, 10, 20), memory + 10) << "across the joint";
  EXPECT_EQ(table.find(1, 29, 22), nullptr) << "across the gap";
}

TEST(PermissionTable, KeepsARangeThatHoldsAnotherWhole) {
  PermissionTable table = table_of({{1, 0, 100, memory}, {1, 10, 20, memory}});
  ASSERT_EQ(table.num_ranges(), 1u);
  EXPECT_EQ(table.find(1, 0, 100), memory);
}

TEST(PermissionTable, SectionsStayApart) {
  PermissionTable table = table_of({{1, 0, 100, memory}, {2, 100, 200, memory + 500}});
  ASSERT_EQ(table.num_ranges(), 2u);
  EXPECT_EQ(table.find(1, 50, 100), nullptr);
  EXPECT_EQ(table.find(2, 100, 100), memory + 600);
  EXPECT_EQ(table.find(1, 100, 1), nullptr);
}

TEST(PermissionTable, FindsInAnyOrder) {
  std::vector<PermissionTable::Range> ranges;
  for (uint32_t i = 0; i < 100; ++i) ranges.push_back({1, 10 * i, 10 * i + 5, memory});
  PermissionTable table = table_of(ranges);
  for (uint32_t i = 0; i < 100; ++i) EXPECT_EQ(table.find(1, 10 * i, 5), memory + 10 * i);
  for (uint32_t i = 100; i-- > 0;) EXPECT_EQ(table.find(1, 10 * i + 4, 1), memory + 10 * i + 4);
  for (uint32_t i = 0; i < 100; ++i) {
    const uint32_t at = i * 37 % 100;
    EXPECT_EQ(table.find(1, 10 * at + 1, 3), memory + 10 * at + 1);
    EXPECT_EQ(table.find(1, 10 * at + 5, 1), nullptr);
  }
}

// Against a table of bytes.
TEST(PermissionTable, AgreesWithATableOfBytes) {
  constexpr size_t kBytes = 300;
  base::Random random(baton_test::test_seed());
  for (int round = 0; round < 200; ++round) {
    std::array<std::array<bool, kBytes>, 3> allowed{};
    std::vector<PermissionTable::Range> ranges;
    for (uint64_t i = random.below(12); i > 0; --i) {
      const auto section = static_cast<uint32_t>(random.below(3));
      const uint64_t begin = random.below(kBytes);
      const uint64_t end = random.between(begin + 1, std::min<uint64_t>(begin + 60, kBytes));
      ranges.push_back({section, begin, end, memory});
      for (uint64_t byte = begin; byte < end; ++byte) allowed[section][byte] = true;
    }
    PermissionTable table = table_of(ranges);
    for (int ask = 0; ask < 300; ++ask) {
      const auto section = static_cast<uint32_t>(random.below(3));
      const uint64_t offset = random.below(kBytes);
      const uint64_t length = random.between(1, 40);
      bool expected = offset + length <= kBytes;
      for (uint64_t byte = offset; expected && byte < offset + length; ++byte)
        expected = allowed[section][byte];
      ASSERT_EQ(table.find(section, offset, length), expected ? memory + offset : nullptr)
          << "section " << section << ", [" << offset << ", " << offset + length << "), round "
          << round;
    }
  }
}

}  // namespace
}  // namespace baton::handoff
