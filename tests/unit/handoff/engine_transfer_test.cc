// The Engine as writer: what it sends when, and how a Transfer ends.
#include <gtest/gtest.h>

#include "tests/unit/handoff/engine_pair.h"

namespace baton_test {
namespace {

using baton::State;
using baton::Status;
using baton::StatusCode;
using baton::counter::ProgressWordState;
using baton::wire::Cancel;
using baton::wire::GrantEnd;
using baton::wire::GrantEndAck;
using baton::wire::GrantOffer;
using baton::wire::Quiesced;

using Names = std::vector<std::string>;

void add_chunk(EnginePair& pair, baton::TokenRange tokens, std::shared_ptr<ProgressWordState> word,
               uint64_t base) {
  baton::handoff::AddChunk add;
  add.transfer = pair.transfer;
  add.chunk = {tokens, std::move(word), base};
  ++pair.transfer->chunks_queued;
  ASSERT_TRUE(pair.writer().engine().submit(std::move(add)).is_ok());
}

// A range Grant, offered, and a write under it.
void open_write(EnginePair& pair) {
  pair.grant = pair.make_range_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  pair.transfer = pair.make_write(*pair.grant);
  pair.open(pair.transfer);
}

TEST(EngineTransfer, SendsALayerWhenItsWordHasPassedIt) {
  EnginePair pair;
  pair.start();
  auto word = std::make_shared<ProgressWordState>(pair.writer().waker());
  add_chunk(pair, EnginePair::kTokens, word, 5);
  word->advance_to(5).ignore();
  pair.turns();
  EXPECT_EQ(pair.grant->units_counted, 0u) << "layer 0 is final at base + 1";
  word->tick();
  EXPECT_TRUE(pair.writer().engine().has_work());
  pair.turns();
  EXPECT_EQ(pair.grant->units_counted, 4u);
  EXPECT_TRUE(pair.grant->layers[0].gate->poll().is_ok());
  word->tick();
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
  EXPECT_EQ(pair.compare_all(), "");
}

TEST(EngineTransfer, LooksAfterAWordFromTheMomentWhenItsAddressIsKnown) {
  EnginePair pair;
  pair.start();
  auto word = std::make_shared<ProgressWordState>(pair.writer().waker());
  add_chunk(pair, EnginePair::kTokens, word, 0);
  pair.turns();
  EXPECT_FALSE(pair.writer().engine().has_work());
  EXPECT_GT(pair.writer().engine().next_timer_ns(), pair.now() + 1000 * kMs);
  // Behind the turn's look at the word, and before the loop sleeps.
  uint64_t* address = word->address();
  EXPECT_TRUE(pair.writer().engine().has_work()) << "the next turn sets a timer";
  pair.turns();
  EXPECT_FALSE(pair.writer().engine().has_work());
  EXPECT_LE(pair.writer().engine().next_timer_ns(), pair.now() + kMs);
  *address = EnginePair::kLayers;  // nobody is woken, and nobody else reads it now
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
}

TEST(EngineTransfer, SendsAChunkAfterTheOneBefore) {
  EnginePair pair;
  pair.start();
  auto first = std::make_shared<ProgressWordState>(pair.writer().waker());
  auto second = std::make_shared<ProgressWordState>(pair.writer().waker());
  add_chunk(pair, {0, 6}, first, 0);
  add_chunk(pair, {6, 16}, second, 0);
  second->advance_to(2).ignore();
  pair.turns();
  EXPECT_EQ(pair.grant->units_counted, 0u);
  first->advance_to(2).ignore();
  pair.turns();
  EXPECT_EQ(pair.transfer->chunks_queued, 0u);
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
}

TEST(EngineTransfer, SealSendsWhatNeverTicked) {
  EnginePair pair;
  pair.start();
  auto word = std::make_shared<ProgressWordState>(pair.writer().waker());
  add_chunk(pair, EnginePair::kTokens, word, 0);
  pair.turns();
  EXPECT_EQ(pair.grant->units_counted, 0u);
  ASSERT_TRUE(pair.writer().engine().submit(baton::handoff::SealTransfer{pair.transfer}).is_ok());
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
}

TEST(EngineTransfer, StartsWhenItHoldsALease) {
  EnginePair pair;
  pair.writer().lease_basis = 0;
  pair.start();
  pair.seal();
  pair.turns();
  EXPECT_TRUE(pair.is_untouched()) << "no heartbeat was echoed yet";
  EXPECT_FALSE(pair.writer().engine().has_work());
  // The wake-up of this finds the loop awake, behind its look at the lease.
  pair.writer().lease_basis = 1;
  EXPECT_TRUE(pair.writer().engine().has_work());
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
}

// The receiver cancelled, was answered and ended while the caller was between the check and the
// queue.
TEST(EngineTransfer, OpenedAfterItsGrantEndedMovesNothing) {
  EnginePair pair;
  pair.grant = pair.make_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  pair.transfer = pair.make_transfer(*pair.grant);
  pair.cancel_grant();
  pair.settle();
  ASSERT_EQ(pair.grant->life.state(), State::kCancelled);
  pair.open(pair.transfer);
  pair.seal();
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
  EXPECT_EQ(pair.writer().ended_transfers.size(), 1u);
  EXPECT_EQ(pair.transfer->posts, 0u);
  EXPECT_TRUE(pair.receiver().dropped.is_ok()) << pair.receiver().dropped.to_string();
  EXPECT_TRUE(pair.is_untouched());
}

TEST(EngineTransfer, OpenedForAPeerThatIsGoneEndsAtOnce) {
  EnginePair pair;
  pair.grant = pair.make_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  pair.transfer = pair.make_transfer(*pair.grant);
  pair.writer().control(baton::handoff::PeerDown{baton::PeerId(EngineSide::kPeer),
                                                 Status(StatusCode::kPeerLost, "gone")});
  pair.open(pair.transfer);
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kPeerLost);
  pair.receiver().control(baton::handoff::PeerDown{baton::PeerId(EngineSide::kPeer),
                                                   Status(StatusCode::kPeerLost, "gone")});
  pair.turns();
}

TEST(EngineTransfer, ItsCancelStopsAndSaysWhatWasSignalled) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.max_posts = 2;
  EnginePair pair(plan);
  pair.start();
  pair.seal();
  pair.writer().turn();
  pair.cancel_transfer();
  pair.writer().turn();
  pair.turns();
  EXPECT_EQ(EnginePair::waiting(pair.writer()), (Names{"Cancel", "Quiesced"}));
  const uint64_t signalled = pair.transfer->units_signalled;
  EXPECT_GT(signalled, 0u);
  EXPECT_LT(signalled, 8u);
  pair.deliver<Cancel>(pair.writer());
  EXPECT_EQ(pair.grant->life.state(), State::kCancelling);
  const auto quiesced = pair.deliver<Quiesced>(pair.writer());
  EXPECT_EQ(quiesced.paths.at(0).signalled.at(0) + quiesced.paths.at(0).signalled.at(1), signalled);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(pair.grant->units_counted, signalled);
  pair.deliver<Cancel>(pair.receiver());  // it does the same on every cancel
  pair.deliver<GrantEnd>(pair.receiver());
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
  pair.settle();
}

TEST(EngineTransfer, AdoptsAVerdictThatWasDecidedBeforeItsCancel) {
  EnginePair pair;
  pair.start();
  pair.seal();
  pair.turns();
  ASSERT_EQ(pair.grant->life.state(), State::kDone);
  pair.cancel_transfer();
  pair.writer().turn();
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelling);
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
  EXPECT_TRUE(pair.transfer->life.status().is_ok());
  EXPECT_EQ(pair.writer().ended_transfers.size(), 1u);
}

TEST(EngineTransfer, FencesItsOwnSideWithoutAVerdictAfter1500Ms) {
  EnginePair pair;
  pair.start();
  pair.seal();
  pair.writer().turn();
  pair.cancel_transfer(StatusCode::kDeadlineExceeded);
  pair.writer().turn();
  pair.advance(1499 * kMs);
  for (int i = 0; i < 3; ++i) pair.writer().turn();
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelling);
  pair.advance(1 * kMs);
  for (int i = 0; i < 3; ++i) pair.writer().turn();
  EXPECT_EQ(pair.transfer->life.state(), State::kFailed);
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kInDoubt);
  EXPECT_NE(pair.transfer->life.status().message().find("DEADLINE_EXCEEDED"), std::string::npos)
      << "the cause is told: " << pair.transfer->life.status().to_string();
  // From here on the source is the caller's again.
  pair.writer().memory().fill_pattern(99);
  for (int i = 0; i < 3; ++i) pair.receiver().turn();
  EXPECT_TRUE(pair.is_untouched());
  pair.settle();
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kInDoubt)
      << "a later verdict is only acknowledged";
  EXPECT_TRUE(pair.grant->life.is_terminal());
  EXPECT_EQ(pair.writer().ended_transfers.size(), 1u);
}

TEST(EngineTransfer, ControlLostBeforeTheVerdictIsInDoubt) {
  EnginePair pair;
  pair.start();
  pair.seal();
  pair.turns();
  ASSERT_EQ(pair.grant->life.state(), State::kDone);
  pair.writer().control(baton::handoff::PeerDown{baton::PeerId(EngineSide::kPeer),
                                                 Status(StatusCode::kPeerLost, "gone")});
  for (int i = 0; i < 3; ++i) pair.writer().turn();
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kInDoubt);
  EXPECT_TRUE(pair.writer().outbox.empty());
}

TEST(EngineTransfer, HalfDeadPathEndsByItsFence) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.kill_path = 0;
  plan.kill_mode = BATON_LOOPBACK_KILL_QUIETLY;
  EnginePair pair(plan);
  pair.start();
  pair.seal();
  pair.settle();
  EXPECT_EQ(pair.grant->life.state(), State::kDone) << "every unit arrived";
  EXPECT_EQ(pair.transfer->life.state(), State::kActive) << "its source is not quiet";
  EXPECT_GT(pair.transfer->ops_out, 0u);
  pair.cancel_transfer(StatusCode::kDeadlineExceeded);
  pair.settle();
  pair.advance(1500 * kMs);
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone) << pair.transfer->life.status().to_string();
  EXPECT_EQ(pair.transfer->ops_out, 0u);
}

TEST(EngineTransfer, OkAfterFewerUnitsThanPlannedIsAProtocolError) {
  EnginePair pair;
  pair.start();
  pair.writer().receive(GrantEnd{pair.grant->id, StatusCode::kOk, 7, ""});
  pair.writer().turn();
  EXPECT_EQ(pair.writer().dropped.code(), StatusCode::kProtocolError);
  EXPECT_NE(pair.writer().dropped.message().find("7 of 8 units"), std::string::npos)
      << pair.writer().dropped.to_string();
  EXPECT_EQ(pair.transfer->life.state(), State::kActive) << "the end of the peer ends it";
  pair.cancel_grant();
  pair.settle();
}

TEST(EngineTransfer, AVerdictForAnUnknownTransferIsAcknowledged) {
  EnginePair pair;
  pair.writer().receive(GrantEnd{baton::GrantId(4711), StatusCode::kOk, 3, ""});
  EXPECT_EQ(EnginePair::waiting(pair.writer()), Names{"GrantEndAck"});
}

TEST(EngineTransfer, ACancelOfAnUnknownGrantIsAnsweredQuiet) {
  EnginePair pair;
  pair.writer().receive(Cancel{baton::GrantId(4711), StatusCode::kCancelled, "?"});
  ASSERT_EQ(EnginePair::waiting(pair.writer()), Names{"Quiesced"});
  const auto& quiesced = std::get<Quiesced>(pair.writer().outbox.front());
  EXPECT_EQ(quiesced.grant, baton::GrantId(4711));
  ASSERT_EQ(quiesced.paths.size(), 1u);
  EXPECT_FALSE(quiesced.paths[0].broken);
  EXPECT_EQ(quiesced.paths[0].epoch, baton::PathEpoch(77));
}

TEST(EngineTransfer, AfterItsPathBrokeItSaysSoOfThatPath) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.kill_path = 0;
  EnginePair pair(plan);
  pair.start();
  pair.seal();
  pair.turns();
  EXPECT_EQ(pair.transfer->life.state(), State::kActive) << "a death of the peer would be told";
  pair.advance(200 * kMs);
  for (int i = 0; i < 3; ++i) pair.writer().turn();
  EXPECT_EQ(EnginePair::waiting(pair.writer()), (Names{"Fence", "Cancel", "Fenced", "Quiesced"}));
  const auto& quiesced = std::get<Quiesced>(pair.writer().outbox.back());
  EXPECT_TRUE(quiesced.paths.at(0).broken);
  EXPECT_EQ(quiesced.paths.at(0).epoch, baton::PathEpoch(77)) << "the one that it had";
  pair.settle();
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost);
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kPathLost)
      << "the receiver's verdict: " << pair.transfer->life.status().to_string();
  EXPECT_EQ(pair.writer().dropped.code(), StatusCode::kPathLost) << "when all has ended";
}

// ---- plain bytes

TEST(EngineTransfer, AWriteIsDoneWhenItWasFlushed) {
  EnginePair pair;
  pair.grant = pair.make_range_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  auto write = pair.make_write(*pair.grant);
  write->has_message = true;
  write->message = {1, 2, 3};
  pair.open(write);
  EXPECT_EQ(write->life.state(), State::kActive);
  pair.turns();
  EXPECT_EQ(write->life.state(), State::kDone);
  EXPECT_EQ(compare_bytes(pair.writer().memory().bytes(), pair.receiver().memory().bytes()), "");
  EXPECT_EQ(EnginePair::waiting(pair.writer()), Names{"Notify"});
  pair.settle();
  ASSERT_EQ(pair.receiver().events.size(), 1u);
  EXPECT_EQ(pair.receiver().events[0].message, (std::vector<uint8_t>{1, 2, 3}));
  pair.cancel_grant();
  pair.settle();
}

// Any thread may cancel at any moment: the message is of a write that no cancel reaches any more.
// The caller sees the end after it left, so what it sends then comes after it.
TEST(EngineTransfer, AMessageLeavesOnceNoCancelCanWinAndBeforeTheEndIsSeen) {
  EnginePair pair;
  open_write(pair);
  pair.transfer->has_message = true;
  int messages = 0;
  pair.writer().before_send = [&](const baton::wire::Message& message) {
    if (!std::holds_alternative<baton::wire::Notify>(message)) return;
    ++messages;
    EXPECT_EQ(pair.transfer->life.state(), State::kActive);
    EXPECT_FALSE(pair.transfer->life.begin_cancel(Status(StatusCode::kCancelled, "too late")));
  };
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone) << pair.transfer->life.status().to_string();
  EXPECT_EQ(messages, 1);
  pair.cancel_grant();
  pair.settle();
}

TEST(EngineTransfer, ACancelledWriteEndsWhenWhatIsOutIsPlaced) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.bytes_per_progress = 4096;
  EnginePair pair(plan);
  open_write(pair);
  pair.cancel_transfer();
  pair.writer().turn();
  pair.receiver().turn();
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelling);
  pair.turns(20);
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
  EXPECT_TRUE(pair.transfer->flushed);
  pair.cancel_grant();
  pair.settle();
}

TEST(EngineTransfer, AWriteWhosePathIsLostIsInDoubt) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.kill_path = 0;
  EnginePair pair(plan);
  pair.grant = pair.make_range_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  auto write = pair.make_write(*pair.grant);
  pair.open(write);
  pair.turns();
  pair.advance(200 * kMs);
  pair.settle();
  EXPECT_EQ(write->life.status().code(), StatusCode::kInDoubt);
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost);
}

// Every op that went out was reported done, and the Path broke before the flush could be posted.
TEST(EngineTransfer, AWriteThatIsCancelledUnflushedOnABrokenPathIsInDoubt) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.max_posts = 4;
  EnginePair pair(plan);
  open_write(pair);
  pair.receiver().turn();
  pair.writer().progress();
  ASSERT_EQ(pair.transfer->ops_out, 0u);
  ASSERT_EQ(pair.transfer->posts, 4u);
  pair.receiver().control(baton::handoff::PeerDown{baton::PeerId(EngineSide::kPeer),
                                                   Status(StatusCode::kPeerLost, "gone")});
  pair.cancel_transfer(StatusCode::kPeerLost);
  pair.turns();
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kInDoubt)
      << pair.transfer->life.status().to_string();
  EXPECT_NE(pair.transfer->life.status().message().find("PEER_LOST"), std::string::npos);
}

TEST(EngineTransfer, AReadIsRefusedOutsideItsGrant) {
  EnginePair pair;
  pair.grant = pair.make_range_grant();  // allows writes only
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  auto read = pair.make_write(*pair.grant);
  read->kind = baton::handoff::TransferKind::kRead;
  pair.open(read);
  pair.settle();
  EXPECT_EQ(read->life.status().code(), StatusCode::kPermissionDenied);
  EXPECT_TRUE(pair.grant->life.is_active()) << "the Path and the Grant live";
  pair.cancel_grant();
  pair.settle();
}

// ---- a Path that is full

// A write that fills the staging of its Path and more: of each block the same bytes as the hand-off
// carries, in pieces that do not adjoin.
std::shared_ptr<baton::handoff::TransferState> make_long_write(
    EnginePair& pair, const baton::handoff::GrantState& ranges) {
  auto write = pair.make_write(ranges);
  write->runs.clear();
  for (uint64_t at = 0; at < pair.writer().memory().size(); at += 128) {
    const uint64_t block = at / EnginePair::kBlockBytes;
    const uint64_t to = (block / 4 * 4 + 3 - block % 4) * EnginePair::kBlockBytes;
    write->runs.push_back({at, to + at % EnginePair::kBlockBytes, 64});
  }
  return write;
}

class FullPath : public testing::Test {
 protected:
  FullPath() : pair_(plan()), ranges_(pair_.make_range_grant()) {
    pair_.open(ranges_);
    pair_.deliver<GrantOffer>(pair_.receiver());
    write_ = make_long_write(pair_, *ranges_);
    EXPECT_GT(write_->runs.size(), 200u);
    pair_.open(write_);
    pair_.start();
    pair_.seal();
    for (int i = 0; i < 3; ++i) pair_.writer().turn();
  }

  static baton_loopback_plan plan() {
    baton_loopback_plan plan = EnginePair::default_plan();
    plan.max_posts = 4;
    return plan;
  }

  void end() {
    pair_.settle();
    ranges_->begin_cancel(Status(StatusCode::kCancelled, "over"), pair_.now());
    pair_.receiver().engine().queue_cancel(ranges_);
    pair_.settle();
    EXPECT_TRUE(ranges_->life.is_terminal());
  }

  EnginePair pair_;
  std::shared_ptr<baton::handoff::GrantState> ranges_;
  std::shared_ptr<baton::handoff::TransferState> write_;
};

TEST_F(FullPath, LetsTheLoopSleepAndIsWokenByItsProgress) {
  EXPECT_EQ(write_->ops_out + pair_.transfer->ops_out, 4u);
  EXPECT_FALSE(write_->all_staged);
  EXPECT_FALSE(pair_.writer().has_work()) << "nothing moves before the peer does";
  EXPECT_EQ(pair_.writer().turn(), 0u);
  pair_.turn_while_awake();
  EXPECT_EQ(write_->life.state(), State::kDone) << write_->life.status().to_string();
  EXPECT_EQ(pair_.grant->life.state(), State::kDone);
  EXPECT_EQ(pair_.compare_all(), "");
  end();
  EXPECT_EQ(pair_.transfer->life.state(), State::kDone);
}

TEST_F(FullPath, LetsTheLoopSleepWhileARequestOverItIsCancelled) {
  pair_.cancel_transfer();
  for (int i = 0; i < 3; ++i) pair_.writer().turn();
  EXPECT_EQ(pair_.transfer->life.state(), State::kCancelling);
  EXPECT_FALSE(pair_.writer().has_work());
  pair_.turn_while_awake();
  EXPECT_EQ(write_->life.state(), State::kDone) << write_->life.status().to_string();
  end();
  EXPECT_EQ(pair_.transfer->life.state(), State::kCancelled);
}

}  // namespace
}  // namespace baton_test
