// Settlement: the arithmetic of what dead Paths may have lost, and the order of rewriting, flush
// and SETTLE.
#include "src/handoff/settlement.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/kv/plan.h"

namespace baton::handoff {
namespace {

using Owed = std::vector<std::pair<uint32_t, uint64_t>>;

constexpr uint32_t kLayers = 2;
constexpr uint32_t kUnits = 4;  // of a layer, one a block of 4 tokens
constexpr uint32_t kBlockBytes = 4096;
constexpr TokenRange kAll{0, 16};

kv::Plan plan_of_eight_units() {
  LayerGroup group;
  group.block_tokens = 4;
  group.heads_total = group.heads = 1;
  group.head_elements = kBlockBytes / 4;
  group.dtype = DType::kU8;
  group.num_blocks = kUnits;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    group.layers.push_back(layer);
    group.places.push_back({SectionId(1), uint64_t{layer} * kUnits * kBlockBytes, kBlockBytes});
  }
  const Layout layout{{group}};
  const std::vector<std::vector<uint32_t>> blocks = {{0, 1, 2, 3}};
  kv::PlanRequest request;
  request.source = &layout;
  request.target = &layout;
  request.source_blocks = std::span<const std::vector<uint32_t>>(blocks);
  request.target_blocks = blocks;
  request.tokens = kAll;
  request.unit_bytes = kBlockBytes;
  auto plan = kv::Plan::create(request);
  EXPECT_TRUE(plan.is_ok()) << plan.status().to_string();
  return std::move(plan).value();
}

class SettlementTest : public testing::Test {
 protected:
  SettlementTest() : plan_(plan_of_eight_units()) { books_.open(kLayers); }

  // Units of `layer`, one after the other, go over these Paths.
  void stage(uint32_t layer, const std::vector<uint32_t>& paths) {
    uint32_t index = 0;
    for (const uint32_t path : paths) books_.staged(path, kAll, layer, index++);
  }
  bool die(uint32_t path, const std::vector<uint64_t>& applied) {
    return books_.path_died(path, applied);
  }
  // (layer, block) of what is still to be written again; each is written over `path`.
  std::vector<std::pair<uint32_t, uint32_t>> rewrite(uint32_t path, size_t most = SIZE_MAX) {
    std::vector<std::pair<uint32_t, uint32_t>> written;
    kv::Unit unit;
    while (written.size() < most && books_.next(plan_, &unit)) {
      written.emplace_back(unit.layer_ordinal, unit.block_position);
      books_.on_accepted(path, unit.length_bytes);
      books_.wrote(path, unit.length_bytes);
      books_.on_op_done(path, false, BATON_OP_DONE);
    }
    return written;
  }
  void flush(uint32_t path, baton_op_status status = BATON_OP_DONE) {
    books_.on_accepted(path, 0);
    books_.flush_posted(path);
    books_.on_op_done(path, true, status);
  }

  kv::Plan plan_;
  Settlement books_;
};

TEST_F(SettlementTest, NothingIsOwedWhenEverythingWasApplied) {
  stage(0, {0, 0, 1, 1});
  ASSERT_TRUE(die(0, {2, 0}));
  EXPECT_EQ(books_.owed(0), 0u);
  EXPECT_FALSE(books_.is_due());
  EXPECT_TRUE(rewrite(1).empty()) << "pages that may be in use are not written again";
}

TEST_F(SettlementTest, WhatWasNotAppliedIsOwedAndAllOfThePathIsWrittenAgain) {
  stage(0, {0, 0, 1, 0});
  stage(1, {1, 1, 0, 0});
  ASSERT_TRUE(die(0, {1, 2}));
  EXPECT_EQ(books_.owed(0), 2u);
  EXPECT_EQ(books_.owed(1), 0u);
  using Units = std::vector<std::pair<uint32_t, uint32_t>>;
  EXPECT_EQ(rewrite(1), (Units{{0, 0}, {0, 1}, {0, 3}})) << "of layer 0; of layer 1 nothing";
  EXPECT_EQ(books_.unflushed(), 2u);
  flush(1);
  EXPECT_EQ(books_.unflushed(), 0u);
  EXPECT_EQ(books_.commit(), (Owed{{0, 2}}));
  EXPECT_FALSE(books_.is_due());
  EXPECT_EQ(books_.units_settled, 2u);
  EXPECT_EQ(books_.bytes_rewritten, 3u * kBlockBytes);
  EXPECT_TRUE(rewrite(1).empty());
}

TEST_F(SettlementTest, ASecondDeathStartsTheRewritingAnewAndCountsOnlyWhatIsNotCommitted) {
  stage(0, {0, 0, 1, 2});
  ASSERT_TRUE(die(0, {0, 0}));
  EXPECT_EQ(rewrite(1, 1).size(), 1u);
  // The Path that carried the rewrite dies, too: its own unit was applied, the rewrite is in doubt.
  ASSERT_TRUE(die(1, {1, 0}));
  EXPECT_EQ(books_.owed(0), 2u);
  EXPECT_EQ(books_.unflushed(), 0u) << "nothing lands on a fenced Path";
  EXPECT_EQ(rewrite(2).size(), 3u) << "all units of both fenced Paths";
  flush(2);
  EXPECT_EQ(books_.commit(), (Owed{{0, 2}}));
  // A third: only its own unit is owed now.
  ASSERT_TRUE(die(2, {0, 0}));
  EXPECT_EQ(books_.owed(0), 1u);
  EXPECT_EQ(rewrite(3).size(), 1u);
}

TEST_F(SettlementTest, AFlushInDoubtIsNoFlush) {
  stage(0, {0, 0, 0, 0});
  ASSERT_TRUE(die(0, {3, 0}));
  rewrite(1);
  flush(1, BATON_OP_IN_DOUBT);
  EXPECT_EQ(books_.unflushed(), 2u);
  ASSERT_TRUE(die(1, {0, 0}));
  EXPECT_EQ(books_.unflushed(), 0u);
  EXPECT_EQ(rewrite(2).size(), 4u);
}

TEST_F(SettlementTest, AFlushCoversOnlyWhatWasWrittenBeforeIt) {
  stage(0, {0, 0, 0, 0});
  ASSERT_TRUE(die(0, {0, 0}));
  rewrite(1, 2);
  books_.on_accepted(1, 0);
  books_.flush_posted(1);
  rewrite(1);
  EXPECT_EQ(books_.wants_flush(), 2u);
  books_.on_op_done(1, true, BATON_OP_DONE);
  EXPECT_EQ(books_.unflushed(), 2u);
  flush(1);
  EXPECT_EQ(books_.unflushed(), 0u);
}

TEST_F(SettlementTest, AnAbortedAttemptIsFlushedWhereItLives) {
  stage(0, {0, 0, 1, 1});
  ASSERT_TRUE(die(0, {0, 0}));
  rewrite(2, 1);
  ASSERT_TRUE(die(1, {2, 0}));
  EXPECT_EQ(rewrite(3).size(), 4u);
  EXPECT_EQ(books_.unflushed(), 4u | 8u) << "path 2 carries a rewrite of the first attempt";
}

TEST_F(SettlementTest, MoreThanWasSentIsRefusedWhole) {
  stage(0, {0, 0, 1, 1});
  EXPECT_FALSE(die(0, {3, 0}));
  EXPECT_FALSE(die(0, {2, 1}));
  EXPECT_EQ(books_.owed(0), 0u);
  EXPECT_EQ(books_.assigned(0, 0), 2u);
  ASSERT_TRUE(die(0, {1, 0}));
  EXPECT_EQ(books_.owed(0), 1u);
}

TEST_F(SettlementTest, AnOrdinalsNextPathBeginsAnew) {
  stage(0, {0, 0});
  books_.signalled(0, 0, 2);
  ASSERT_TRUE(die(0, {2, 0}));
  EXPECT_FALSE(books_.used(0));
  EXPECT_EQ(books_.signalled_on(0)[0], 0u);
  books_.staged(0, kAll, 0, 2);
  EXPECT_EQ(books_.assigned(0, 0), 1u);
  ASSERT_TRUE(die(0, {0, 0}));
  EXPECT_EQ(books_.owed(0), 1u);
  EXPECT_EQ(rewrite(1), (std::vector<std::pair<uint32_t, uint32_t>>{{0, 2}}));
}

TEST_F(SettlementTest, TheJournalJoinsWhatFollows) {
  stage(0, {0, 0, 1, 1});
  stage(1, {1, 1, 1, 1});
  EXPECT_EQ(books_.runs().size(), 3u);
  EXPECT_EQ(books_.runs()[2].count, kUnits);
}

}  // namespace
}  // namespace baton::handoff
