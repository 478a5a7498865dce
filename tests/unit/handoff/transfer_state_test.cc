#include "src/handoff/transfer_state.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "src/base/clock.h"

namespace baton::handoff {
namespace {

class TransferStateTest : public testing::Test {
 protected:
  TransferStateTest() : clock_(1000) {
    transfer_.id = TransferId(4);
    transfer_.grant = GrantId(12);
    transfer_.peer = PeerId(3);
    transfer_.tag = "req-1";
    transfer_.clock = &clock_;
    transfer_.submitted_ns = 900;
    transfer_.num_layers = 2;
    transfer_.layers = std::make_unique<TransferState::LayerSent[]>(2);
    transfer_.settlement.open(2);
    transfer_.layers[0].units = 5;
    transfer_.layers[0].bytes = 500;
    transfer_.layers[1].units = 1;
    transfer_.target_blocks = {{7, 9}, {4}};
  }

  base::ManualClock clock_;
  TransferState transfer_;
};

TEST_F(TransferStateTest, CountsWhatIsOut) {
  transfer_.on_accepted(0, 100);
  clock_.advance_ns(10);
  transfer_.on_accepted(0, 200);
  transfer_.on_accepted(0, 0);  // a flush
  transfer_.flush_posted = 1;
  EXPECT_EQ(transfer_.ops_out, 3u);
  transfer_.on_op_done(0, false, BATON_OP_DONE);
  EXPECT_EQ(transfer_.ops_out, 2u);
  EXPECT_EQ(transfer_.flushed, 0u);
  transfer_.on_op_done(0, true, BATON_OP_DONE);
  EXPECT_EQ(transfer_.flushed, 1u);
  const TransferRecord record = transfer_.record();
  EXPECT_EQ(record.posts, 2u) << "a flush is no post";
  EXPECT_EQ(record.bytes, 300u);
  EXPECT_EQ(record.first_post_ns, 1000);
  EXPECT_EQ(record.last_post_ns, 1010);
}

TEST_F(TransferStateTest, WhatIsRefusedWasNeverOut) {
  transfer_.on_accepted(0, 100);
  transfer_.on_refused(0, 100);
  transfer_.on_accepted(0, 0);
  transfer_.on_refused(0, 0);
  EXPECT_EQ(transfer_.ops_out, 0u);
  EXPECT_EQ(transfer_.record().posts, 0u);
  EXPECT_EQ(transfer_.record().bytes, 0u);
}

TEST_F(TransferStateTest, AFlushInDoubtTellsOfNothing) {
  transfer_.on_accepted(2, 1);
  transfer_.on_op_done(2, false, BATON_OP_IN_DOUBT);
  EXPECT_FALSE(transfer_.op_refused);
  transfer_.on_accepted(2, 0);
  transfer_.flush_posted = 4;
  transfer_.on_op_done(2, true, BATON_OP_IN_DOUBT);
  EXPECT_EQ(transfer_.flushed, 0u);
  EXPECT_EQ(transfer_.posted_paths(), 4u);
}

// A flush that was out when the Transfer started over covers less than what is meant now.
TEST_F(TransferStateTest, AFlushFromBeforeItStartedOverIsNone) {
  transfer_.on_accepted(1, 100);
  transfer_.on_accepted(1, 0);
  transfer_.flush_posted = 2;
  transfer_.used_paths = 3;
  transfer_.path_died(0);
  EXPECT_EQ(transfer_.posted_paths(), 2u);
  transfer_.on_accepted(1, 100);
  transfer_.on_accepted(1, 0);
  transfer_.flush_posted = 2;
  transfer_.on_op_done(1, true, BATON_OP_DONE);
  EXPECT_EQ(transfer_.flushed, 0u);
  transfer_.on_op_done(1, true, BATON_OP_DONE);
  EXPECT_EQ(transfer_.flushed, 2u);
}

// What the others carried lands some time: it has to be known when.
TEST_F(TransferStateTest, ADeathForgetsWhatThatPathCarriedAndNoOther) {
  for (const uint32_t path : {0u, 1u, 2u}) transfer_.on_accepted(path, 100);
  transfer_.used_paths = 7;
  transfer_.all_staged = true;
  transfer_.path_died(1);
  EXPECT_EQ(transfer_.posted_paths(), 5u);
  EXPECT_FALSE(transfer_.all_staged) << "its share goes over the others";
  // One that carries nothing of the second attempt costs nothing when it dies.
  transfer_.all_staged = true;
  transfer_.used_paths = 1;
  transfer_.path_died(2);
  EXPECT_EQ(transfer_.posted_paths(), 1u);
  EXPECT_TRUE(transfer_.all_staged);
}

// Its end waits for nothing that is known already.
TEST_F(TransferStateTest, ACancelledOneDoesNotStartOver) {
  transfer_.on_accepted(0, 100);
  transfer_.on_accepted(1, 100);
  transfer_.used_paths = 3;
  transfer_.next_run = 1;
  transfer_.flush_posted = transfer_.flushed = 2;
  ASSERT_TRUE(transfer_.life.begin_cancel(Status(StatusCode::kCancelled, "stop")));
  transfer_.path_died(0);
  EXPECT_EQ(transfer_.next_run, 1u);
  EXPECT_EQ(transfer_.used_paths, 2u);
  EXPECT_EQ(transfer_.flushed, 2u) << "what was flushed stays so";
  EXPECT_TRUE(transfer_.writes_in_doubt) << "what Path 0 carried was not";
  transfer_.path_died(1);
  EXPECT_EQ(transfer_.posted_paths(), 0u);
}

TEST_F(TransferStateTest, ARefusedOpLeavesThePath) {
  transfer_.on_accepted(0, 1);
  transfer_.on_op_done(0, false, BATON_OP_REFUSED);
  EXPECT_TRUE(transfer_.op_refused);
}

TEST_F(TransferStateTest, ALayerIsPostedWithItsLastUnit) {
  transfer_.on_accepted(0, 100);
  transfer_.on_signalled(0, 0, 3);
  EXPECT_EQ(transfer_.record().layers[0].posted_ns, 0);
  clock_.advance_ns(50);
  transfer_.on_accepted(0, 100);
  transfer_.on_signalled(0, 0, 2);
  const TransferRecord record = transfer_.record();
  EXPECT_EQ(record.layers[0].posted_ns, 1050);
  EXPECT_EQ(record.layers[0].units, 5u);
  EXPECT_EQ(record.layers[0].bytes, 500u);
  EXPECT_EQ(record.layers[1].posted_ns, 0);
  EXPECT_EQ(record.units, 5u);
  EXPECT_EQ(record.immediates, 2u);
  EXPECT_EQ(record.submitted_ns, 900);
}

TEST_F(TransferStateTest, BlocksFailTogether) {
  EXPECT_TRUE(transfer_.failed_blocks().empty()) << "nothing is decided";
  transfer_.life.finish(Status(StatusCode::kInDoubt, "?"), 1);
  const std::vector<FailedBlock> failed = transfer_.failed_blocks();
  ASSERT_EQ(failed.size(), 3u);
  EXPECT_EQ(failed[0].block, 7u);
  EXPECT_EQ(failed[1].position, 1u);
  EXPECT_EQ(failed[1].block, 9u);
  EXPECT_EQ(failed[2].group, 1u);
  EXPECT_EQ(failed[2].position, 0u);
  EXPECT_EQ(failed[2].block, 4u);
}

TEST_F(TransferStateTest, NoBlockFailsOfWhatIsDoneOrRaw) {
  transfer_.life.finish(Status::ok(), 1);
  EXPECT_TRUE(transfer_.failed_blocks().empty());
  TransferState raw;
  raw.kind = TransferKind::kWrite;
  raw.life.finish(Status(StatusCode::kCancelled, "x"), 1);
  EXPECT_TRUE(raw.failed_blocks().empty());
}

TEST_F(TransferStateTest, DescribesItself) {
  EXPECT_EQ(transfer_.describe(), "transfer 4 (grant 12, tag \"req-1\") to peer 3");
  transfer_.tag.clear();
  EXPECT_EQ(transfer_.describe(), "transfer 4 (grant 12) to peer 3");
}

TEST_F(TransferStateTest, RecordMayBeReadWhileTheDataThreadWrites) {
  constexpr int kUnits = 20000;
  std::barrier start(2);
  std::thread data([&] {
    start.arrive_and_wait();
    for (int i = 0; i < kUnits; ++i) {
      transfer_.on_accepted(0, 10);
      transfer_.on_signalled(0, 1, 1);
      transfer_.on_op_done(0, false, BATON_OP_DONE);
    }
  });
  start.arrive_and_wait();
  uint64_t last = 0;
  while (last < kUnits) {
    const TransferRecord record = transfer_.record();
    EXPECT_GE(record.units, last) << "counts only grow";
    last = record.units;
  }
  data.join();
  EXPECT_EQ(transfer_.record().bytes, uint64_t{10} * kUnits);
}

}  // namespace
}  // namespace baton::handoff
