// PathChannel: limits, cancel, and the end of a path.
#include "src/transfer/path_channel.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "src/base/random.h"
#include "tests/support/test_seed.h"
#include "tests/unit/transfer/path_pair.h"

namespace baton_test {
namespace {

using baton::StatusCode;
using baton::counter::Immediate;
using baton::counter::SlotIndex;
using baton::transfer::PathState;
using baton::transfer::SlotRef;

constexpr uint32_t kUnit = 100;
const SlotRef kFirst{SlotIndex(40), 5, 0};
const SlotRef kSecond{SlotIndex(41), 6, 1};

Immediate immediate(const SlotRef& slot, uint32_t weight) {
  return {slot.slot, slot.generation, weight};
}

// ---- limits

TEST(PathChannelEnd, StagingIsBounded) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  uint64_t staged = 0;
  while (pair.stage_unit(owner, kFirst, 200 * staged, 200 * staged, kUnit)) ++staged;
  EXPECT_EQ(staged, 128u);
  EXPECT_FALSE(pair.stage_write(owner, 0, 500'000, kUnit));
  // The refused raw write closed the batch: everything goes.
  EXPECT_EQ(pair.channel().push(), 128u);
  EXPECT_TRUE(pair.stage_unit(owner, kFirst, 200 * staged, 200 * staged, kUnit));
}

TEST(PathChannelEnd, WhatAPlugInDoesNotTakeNowIsTakenLater) {
  baton_loopback_plan plan = covering_plan();
  plan.max_posts = 4;
  RecordingOwner owner;
  PathPair pair(plan);
  for (uint64_t i = 0; i < 10; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, 200 * i, 200 * i, kUnit));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 4u);
  EXPECT_EQ(pair.channel().push(), 0u);
  EXPECT_EQ(owner.ops_out, 4u) << "what was refused is not out";
  EXPECT_EQ(owner.posts.size(), 4u);
  for (int i = 0; i < 3; ++i) {
    pair.settle();
    pair.channel().push();
  }
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 10)});
  EXPECT_EQ(owner.ops_done, 10u);
}

TEST(PathChannelEnd, TheWindowBoundsWhatIsUnderWay) {
  constexpr uint32_t kMegabyte = 1u << 20;
  RecordingOwner owner;
  PathPair pair(covering_plan(), 12 * kMegabyte, kMegabyte);
  for (uint64_t i = 0; i < 12; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, i * kMegabyte, i * kMegabyte, kMegabyte));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 8u);
  EXPECT_EQ(pair.channel().push(), 0u);
  pair.settle();
  EXPECT_EQ(pair.channel().push(), 4u);
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 12)});
  EXPECT_EQ(compare_bytes(pair.source().bytes(), pair.target().bytes()), "");
}

TEST(PathChannelEnd, APostLongerThanTheWindowGoesAlone) {
  constexpr uint32_t kMegabyte = 1u << 20;
  RecordingOwner owner;
  PathPair pair(covering_plan(), 24 * kMegabyte, 12 * kMegabyte);
  ASSERT_TRUE(pair.stage_unit(owner, kFirst, 0, 0, 12 * kMegabyte));
  ASSERT_TRUE(pair.stage_unit(owner, kSecond, 12 * kMegabyte, 12 * kMegabyte, 12 * kMegabyte));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 1u);
  pair.settle();
  EXPECT_EQ(pair.channel().push(), 1u);
}

TEST(PathChannelEnd, OneOpStaysFreeForAFlush) {
  baton_loopback_plan plan = covering_plan();
  plan.max_posts = 4096;
  RecordingOwner owner;
  PathPair pair(plan);
  uint64_t accepted = 0;
  for (uint64_t i = 0; i < 1100; ++i) {
    if (!pair.stage_write(owner, 0, 2 * i, 1)) break;
    accepted += pair.channel().push();
  }
  EXPECT_EQ(accepted, 1023u);
  EXPECT_TRUE(pair.channel().flush(&owner).is_ok());
  EXPECT_EQ(pair.channel().flush(&owner).code(), StatusCode::kBusy);
  EXPECT_EQ(owner.ops_out, 1024u);
  pair.settle();
  EXPECT_EQ(owner.flushes_done, 1u);
  EXPECT_EQ(owner.ops_out, 0u);
  EXPECT_GT(pair.channel().push(), 0u);
}

TEST(PathChannelEnd, AFlushThatThePlugInHasNoRoomForIsTriedAgain) {
  baton_loopback_plan plan = covering_plan();
  plan.max_posts = 1;
  RecordingOwner owner;
  PathPair pair(plan);
  ASSERT_TRUE(pair.stage_write(owner, 0, 0, kUnit));
  EXPECT_EQ(pair.channel().push(), 1u);
  EXPECT_EQ(pair.channel().flush(&owner).code(), StatusCode::kBusy);
  EXPECT_EQ(owner.ops_out, 1u);
  EXPECT_EQ(pair.channel().state(), PathState::kOpen);
  pair.settle();
  EXPECT_TRUE(pair.channel().flush(&owner).is_ok());
  pair.settle();
  EXPECT_EQ(owner.flushes_done, 1u);
}

// ---- cancel

TEST(PathChannelEnd, DropOfWhatThePlugInNeverSawNeedsNothing) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  for (uint64_t i = 0; i < 5; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, 200 * i, 200 * i, kUnit));
  pair.channel().drop(&owner);
  EXPECT_FALSE(pair.channel().has_staged());
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 0u);
  pair.settle();
  EXPECT_TRUE(pair.immediates().empty());
  EXPECT_TRUE(owner.posts.empty());
}

TEST(PathChannelEnd, DropClosesABatchOfWhichAPartIsOut) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  for (uint64_t i = 0; i < 5; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, 200 * i, 200 * i, kUnit));
  EXPECT_EQ(pair.channel().push(), 4u);
  pair.channel().drop(&owner);
  EXPECT_TRUE(pair.channel().has_staged(&owner)) << "the post that carries the immediate";
  EXPECT_EQ(pair.channel().push(), 1u);
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 5)});
  EXPECT_EQ(owner.signalled, std::vector<uint64_t>{5});
}

TEST(PathChannelEnd, DropKeepsOnlyTheFirstPostThatIsLeftOfAnOpenBatch) {
  baton_loopback_plan plan = covering_plan();
  plan.max_posts = 3;
  RecordingOwner owner;
  PathPair pair(plan);
  for (uint64_t i = 0; i < 10; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, 200 * i, 200 * i, kUnit));
  EXPECT_EQ(pair.channel().push(), 3u);
  pair.channel().drop(&owner);
  pair.settle();
  EXPECT_EQ(pair.channel().push(), 1u);
  EXPECT_FALSE(pair.channel().has_staged());
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 4)});
  EXPECT_EQ(owner.signalled, std::vector<uint64_t>{4});
  EXPECT_EQ(pair.target().check_poisoned(4 * 200, 6 * 200), "") << "what was dropped moved";
}

TEST(PathChannelEnd, DropKeepsAClosedBatchOfWhichAPartIsOutAndNoneBehindIt) {
  baton_loopback_plan plan = covering_plan();
  plan.max_posts = 2;
  RecordingOwner owner;
  PathPair pair(plan);
  for (uint64_t i = 0; i < 5; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, 200 * i, 200 * i, kUnit));
  for (uint64_t i = 5; i < 9; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kSecond, 200 * i, 200 * i, kUnit));
  EXPECT_EQ(pair.channel().push(), 2u);
  pair.channel().drop(&owner);
  for (int i = 0; i < 3; ++i) {
    pair.settle();
    pair.channel().push();
  }
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 5)});
  EXPECT_FALSE(pair.channel().has_staged());
  EXPECT_EQ(pair.target().check_poisoned(5 * 200, 4 * 200), "");
}

TEST(PathChannelEnd, DropLeavesOtherOwnersAlone) {
  RecordingOwner gone;
  RecordingOwner stays;
  PathPair pair(covering_plan());
  ASSERT_TRUE(pair.stage_unit(stays, kFirst, 0, 0, kUnit));
  ASSERT_TRUE(pair.stage_unit(gone, kSecond, 200, 200, kUnit));
  ASSERT_TRUE(pair.stage_write(gone, 400, 400, kUnit));
  ASSERT_TRUE(pair.stage_unit(stays, kFirst, 600, 600, kUnit));
  pair.channel().drop(&gone);
  EXPECT_FALSE(pair.channel().has_staged(&gone));
  EXPECT_TRUE(pair.channel().has_staged(&stays));
  ASSERT_TRUE(pair.stage_unit(stays, kFirst, 800, 800, kUnit));
  pair.channel().close_batch();
  EXPECT_EQ(pair.channel().push(), 3u);
  pair.settle();
  EXPECT_EQ(pair.immediates(),
            (std::vector<Immediate>{immediate(kFirst, 1), immediate(kFirst, 2)}));
  EXPECT_EQ(pair.target().check_poisoned(200, kUnit), "");
  EXPECT_EQ(pair.target().check_poisoned(400, kUnit), "");
}

TEST(PathChannelEnd, AfterADropTheSlotOfTheNextBatchStartsAtNothing) {
  RecordingOwner gone;
  RecordingOwner next;
  PathPair pair(covering_plan());
  for (uint64_t i = 0; i < 3; ++i)
    ASSERT_TRUE(pair.stage_unit(gone, kFirst, 200 * i, 200 * i, kUnit));
  pair.channel().drop(&gone);
  ASSERT_TRUE(pair.stage_unit(next, kFirst, 1000, 1000, kUnit));
  pair.channel().close_batch();
  pair.channel().push();
  pair.settle();
  EXPECT_EQ(pair.immediates(), std::vector<Immediate>{immediate(kFirst, 1)});
}

// ---- the end of a path

TEST(PathChannelEnd, ABrokenPathTakesNothingMore) {
  baton_loopback_plan plan = covering_plan();
  plan.kill_path = 0;
  plan.kill_after_posts = 1;
  RecordingOwner owner;
  PathPair pair(plan);
  ASSERT_TRUE(pair.stage_write(owner, 0, 0, kUnit));
  ASSERT_TRUE(pair.stage_write(owner, 300, 300, kUnit));
  EXPECT_EQ(pair.channel().push(), 2u);
  pair.settle();
  EXPECT_TRUE(pair.is_broken());
  ASSERT_TRUE(pair.stage_write(owner, 600, 600, kUnit));
  EXPECT_EQ(pair.channel().push(), 0u);
  EXPECT_EQ(pair.channel().state(), PathState::kBroken);
  EXPECT_EQ(owner.ops_out, 1u) << "of the killed post, until the fence";
  EXPECT_EQ(owner.posts.size(), 2u);
  pair.channel().fence();
  EXPECT_EQ(owner.ops_out, 0u);
  EXPECT_EQ(owner.ops_in_doubt, 1u);
  EXPECT_EQ(pair.channel().state(), PathState::kFenced);
  EXPECT_FALSE(pair.channel().flush(&owner).is_ok());
}

TEST(PathChannelEnd, AFenceDropsWhatIsStagedAndAnswersWhatIsOut) {
  RecordingOwner owner;
  PathPair pair(covering_plan());
  for (uint64_t i = 0; i < 6; ++i)
    ASSERT_TRUE(pair.stage_unit(owner, kFirst, 200 * i, 200 * i, kUnit));
  EXPECT_EQ(pair.channel().push(), 5u);
  pair.channel().fence();
  pair.channel().fence();
  EXPECT_EQ(pair.channel().state(), PathState::kFenced);
  EXPECT_FALSE(pair.channel().has_staged());
  EXPECT_EQ(owner.ops_in_doubt, 5u);
  EXPECT_EQ(owner.ops_done, 5u);
  pair.settle();
  EXPECT_EQ(owner.ops_done, 5u);
  EXPECT_TRUE(pair.immediates().empty());
  EXPECT_EQ(pair.target().check_poisoned(0, pair.target().size()), "");
}

TEST(PathChannelEnd, DescribesItself) {
  PathPair pair(covering_plan());
  EXPECT_EQ(pair.channel().describe(), "path 0 (loopback, epoch 1) to peer 3");
}

// ---- everything at once

struct Load {
  RecordingOwner owner;
  bool is_dropped = false;
  uint64_t staged = 0;
};

// Units of several owners in random order, staged, pushed, moved and dropped at random: what was
// signalled is what is counted, and of an owner that was not dropped it is everything.
void run_random(const baton_loopback_plan& plan, uint64_t seed) {
  baton::base::Random random(seed);
  baton_loopback_plan varied = plan;
  varied.seed = seed;
  varied.max_posts = static_cast<uint32_t>(random.between(1, 40));
  std::array<Load, 3> loads;
  PathPair pair(varied, 1u << 19);
  uint64_t offset = 0;
  for (int step = 0; step < 2000 && offset + 200 < pair.target().size(); ++step) {
    Load& load = loads[random.below(loads.size())];
    const auto index = static_cast<uint32_t>(&load - loads.data());
    const auto length = static_cast<uint32_t>(random.between(1, 150));
    switch (random.below(12)) {
      case 0:
        pair.channel().push();
        break;
      case 1:
        pair.receive();
        break;
      case 2:
        pair.settle();
        break;
      case 3:
        pair.channel().close_batch();
        break;
      case 4:
        if (!random.chance(1, 100)) break;
        load.is_dropped = true;
        pair.channel().drop(&load.owner);
        break;
      default: {
        if (load.is_dropped) break;
        const SlotRef slot{SlotIndex(10 + index), 1, 0};
        if (!pair.stage_unit(load.owner, slot, offset, offset, length)) break;
        ++load.staged;
        // Some adjoin, some do not.
        offset += length + random.below(2) * random.below(40);
      }
    }
  }
  pair.channel().close_batch();
  while (pair.channel().has_staged()) {
    pair.channel().push();
    pair.settle();
  }
  pair.settle();
  for (uint32_t i = 0; i < loads.size(); ++i) {
    const Load& load = loads[i];
    const uint64_t signalled = load.owner.signalled.empty() ? 0 : load.owner.signalled[0];
    EXPECT_EQ(pair.counted(SlotIndex(10 + i)), signalled) << "owner " << i << ", seed " << seed;
    EXPECT_LE(signalled, load.staged);
    if (!load.is_dropped) {
      EXPECT_EQ(signalled, load.staged) << "owner " << i << ", seed " << seed;
    }
    EXPECT_EQ(load.owner.ops_out, 0u);
    EXPECT_EQ(load.owner.ops_in_doubt, 0u);
  }
  for (size_t i = 0; i < offset; ++i) {
    const uint8_t byte = pair.target().data()[i];
    ASSERT_TRUE(byte == pair.source().data()[i] || byte == GuardedBuffer::kPoison)
        << "byte " << i << ", seed " << seed;
  }
  EXPECT_EQ(pair.target().check_guards(), "");
}

TEST(PathChannelEnd, WhatIsSignalledIsWhatIsCounted) {
  for (uint64_t i = 0; i < 20; ++i) {
    run_random(covering_plan(), test_seed() + i);
    run_random(ordered_plan(), test_seed() + i);
    run_random(unordered_plan(), test_seed() + i);
  }
}

}  // namespace
}  // namespace baton_test
