#include "src/transfer/path_channel.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/transfer/path_pair.h"

namespace baton_test {
namespace {

using baton::counter::Immediate;
using baton::counter::SlotIndex;
using baton::transfer::SlotRef;

constexpr uint32_t kUnit = 100;
const SlotRef kFirst{SlotIndex(40), 5, 0};
const SlotRef kSecond{SlotIndex(41), 6, 1};

Immediate immediate(const SlotRef& slot, uint32_t weight) {
  return {slot.slot, slot.generation, weight};
}

// ---- batches

TEST(PathChannel, ABatchOfOneSlotHasOneImmediateWithItsNumberOfUnits) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  for (uint64_t i = 0; i < 5; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, 300 * i, 200 * i, kUnit));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 5u);
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 5)});
  EXPECT_EQ(owner.signalled, std::vector<uint64_t>{5});
  EXPECT_EQ(owner.posts.size(), 5u);
  EXPECT_EQ(owner.ops_done, 5u);
  EXPECT_EQ(owner.ops_out, 0u);
}

TEST(PathChannel, TheLastPostOfAnOpenBatchStaysUntilItCloses) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  EXPECT_FALSE(pair.channel().can_push());
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, kUnit));
  EXPECT_FALSE(pair.channel().can_push());
  EXPECT_EQ(pair.channel().push(), 0u);
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 500, 500, kUnit));
  EXPECT_TRUE(pair.channel().can_push());
  EXPECT_EQ(pair.channel().push(), 1u);
  pair.settle();
  EXPECT_TRUE(pair.immediates().empty());
  EXPECT_TRUE(pair.channel().has_staged());
  EXPECT_TRUE(owner.signalled.empty()) << "nothing is signalled before its immediate is accepted";
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 1u);
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 2)});
  EXPECT_FALSE(pair.channel().has_staged());
}

TEST(PathChannel, AnotherSlotClosesTheBatch) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, kUnit));
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 300, 300, kUnit));
  ASSERT_TRUE(pair.stage_unit(owner, kSecond, 600, 600, kUnit));
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 900, 900, kUnit));
  pair.channel().close_batch();
  pair.channel().push();
  pair.settle();
  EXPECT_EQ(pair.immediates(), (std::vector<Immediate>{immediate(kFirst, 2), immediate(kSecond, 1),
                                                       immediate(kFirst, 1)}));
  EXPECT_EQ(owner.signalled, (std::vector<uint64_t>{3, 1}));
}

TEST(PathChannel, AnotherGenerationOfTheSlotClosesTheBatch) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  SlotRef later = kFirst;
  later.generation = 6;
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, kUnit));
  ASSERT_TRUE(pair.stage_unit(owner, later, kUnit, kUnit, kUnit));
  pair.channel().close_batch();
  pair.channel().push();
  pair.settle();
  EXPECT_EQ(pair.immediates(), (std::vector<Immediate>{immediate(kFirst, 1), immediate(later, 1)}));
}

TEST(PathChannel, AnotherOwnerClosesTheBatchAndIsNotMergedWith) {
  RecordingOwner one;
  RecordingOwner two;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.stage_unit(one, kFirst, 0, 0, kUnit));
  ASSERT_TRUE(pair.stage_unit(two, kFirst, kUnit, kUnit, kUnit));
  pair.channel().close_batch();
  pair.channel().push();
  pair.settle();
  EXPECT_EQ(pair.immediates(),
            (std::vector<Immediate>{immediate(kFirst, 1), immediate(kFirst, 1)}));
  EXPECT_EQ(one.posts.size(), 1u);
  EXPECT_EQ(two.posts.size(), 1u);
}

TEST(PathChannel, ASignalIsAnImmediateOfItsOwn) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, kUnit));
  ASSERT_TRUE(pair.channel().stage_signal({&owner, 1}, kSecond, 256));
  ASSERT_TRUE(pair.channel().stage_signal({&owner, 1}, kSecond, 3));
  ASSERT_TRUE(pair.stage_unit(owner, kSecond, kUnit, kUnit, kUnit));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 4u);
  pair.settle();
  EXPECT_EQ(pair.immediates(),
            (std::vector<Immediate>{immediate(kFirst, 1), immediate(kSecond, 256),
                                    immediate(kSecond, 3), immediate(kSecond, 1)}));
  EXPECT_EQ(owner.signalled, (std::vector<uint64_t>{1, 260}));
  EXPECT_EQ(owner.ops_out, 0u);
}

TEST(PathChannel, ASignalThatIsDroppedWasNeverSent) {
  RecordingOwner owner;
  RecordingOwner other;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.channel().stage_signal({&owner, 1}, kFirst, 5));
  ASSERT_TRUE(pair.channel().stage_signal({&other, 2}, kSecond, 7));
  pair.channel().drop(&owner);
  EXPECT_FALSE(pair.channel().has_staged(&owner));
  EXPECT_EQ(pair.channel().push(), 1u);
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kSecond, 7)});
  EXPECT_TRUE(owner.signalled.empty());
}

TEST(PathChannel, ARawWriteClosesTheBatch) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, kUnit));
  ASSERT_TRUE(pair.stage_write(owner, kUnit, kUnit, kUnit));
  EXPECT_EQ(pair.channel().push(), 2u);
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 1)});
}

TEST(PathChannel, ABatchClosesAt256Units) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  for (uint64_t i = 0; i < 600; ++i) {
    if (!pair.stage_unit(owner, kFirst, 150 * i, 120 * i, kUnit)) {
      ASSERT_GT(pair.channel().push(), 0u);
      ASSERT_TRUE(pair.stage_unit(owner, kFirst, 150 * i, 120 * i, kUnit));
    }
    pair.settle();
  }
  pair.channel().close_batch();
  pair.channel().push();
  pair.settle();
  EXPECT_EQ(pair.immediates(),
            (std::vector<Immediate>{immediate(kFirst, 256), immediate(kFirst, 256),
                                    immediate(kFirst, 88)}));
  EXPECT_EQ(owner.signalled, std::vector<uint64_t>{600});
}

TEST(PathChannel, MergedUnitsCountOneByOneTowardsTheWeight) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  for (uint64_t i = 0; i < 257; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, kUnit * i, kUnit * i, kUnit));
  pair.channel().close_batch();
  pair.channel().push();
  pair.settle();
  EXPECT_EQ(owner.posts, (std::vector<uint64_t>{256 * kUnit, kUnit}));
  EXPECT_EQ(pair.immediates(),
            (std::vector<Immediate>{immediate(kFirst, 256), immediate(kFirst, 1)}));
}

// ---- merging

TEST(PathChannel, UnitsThatAdjoinAtBothEndsAreOnePost) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  for (uint64_t i = 0; i < 8; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, kUnit * i, 5000 + kUnit * i, kUnit));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 1u);
  pair.settle();
  EXPECT_EQ(owner.posts, std::vector<uint64_t>{8 * kUnit});
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 8)});
  EXPECT_EQ(compare_bytes(pair.source().bytes().first(8 * kUnit),
                          pair.target().bytes().subspan(5000, 8 * kUnit)),
            "");
}

TEST(PathChannel, UnitsThatAdjoinAtTheTargetAreGathered) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  // Sources in descending order: none adjoins the one before. A loopback post gathers 16.
  for (uint64_t i = 0; i < 20; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, 9000 - 150 * i, kUnit * i, kUnit));
  pair.channel().close_batch();
  pair.channel().push();
  pair.settle();
  EXPECT_EQ(owner.posts, (std::vector<uint64_t>{16 * kUnit, 4 * kUnit}));
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 20)});
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(compare_bytes(pair.source().bytes().subspan(9000 - 150 * i, kUnit),
                            pair.target().bytes().subspan(kUnit * i, kUnit)),
              "")
        << "unit " << i;
  }
}

TEST(PathChannel, UnitsApartAtTheTargetAreNotMerged) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, kUnit));
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, kUnit, kUnit + 1, kUnit));      // a gap
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 2 * kUnit, kUnit + 1, kUnit));  // the same place
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 3u);
}

TEST(PathChannel, AnotherRegionIsNotMergedWith) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, kUnit, 1));
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, kUnit, kUnit, kUnit, 2));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 2u);
}

TEST(PathChannel, NoPostIsLongerThanAgreed) {
  RecordingOwner owner;
  PathPair pair(covering_plan(), 1u << 20, 5 * kUnit);
  for (uint64_t i = 0; i < 11; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, kUnit * i, kUnit * i, kUnit));
  pair.channel().close_batch();
  pair.channel().push();
  pair.settle();
  EXPECT_EQ(owner.posts, (std::vector<uint64_t>{5 * kUnit, 5 * kUnit, kUnit}));
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 11)});
}

TEST(PathChannel, AClosedBatchTakesNoMore) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, kUnit));
  pair.channel().close_batch();
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, kUnit, kUnit, kUnit));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 2u);
  pair.settle();
  EXPECT_EQ(pair.immediates(),
            (std::vector<Immediate>{immediate(kFirst, 1), immediate(kFirst, 1)}));
}

class WithoutCovering : public testing::TestWithParam<bool> {};

TEST_P(WithoutCovering, EachUnitIsAPostWithAnImmediateOfItsOwn) {
  RecordingOwner owner;
  PathPair pair(GetParam() ? ordered_plan() : unordered_plan());
  for (uint64_t i = 0; i < 9; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, kUnit * i, kUnit * i, kUnit));
  EXPECT_EQ(pair.channel().push(), 9u) << "there is no open batch that holds one back";
  pair.settle();
  EXPECT_EQ(owner.posts, std::vector<uint64_t>(9, kUnit));
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>(9, immediate(kFirst, 1)));
  EXPECT_EQ(owner.signals, 9u);
  EXPECT_EQ(
      compare_bytes(pair.source().bytes().first(9 * kUnit), pair.target().bytes().first(9 * kUnit)),
      "");
}

INSTANTIATE_TEST_SUITE_P(Paths, WithoutCovering, testing::Bool(), [](const auto& ordered) {
  return std::string(ordered.param ? "ordered" : "unordered");
});

}  // namespace
}  // namespace baton_test
