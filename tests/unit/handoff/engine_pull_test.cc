// Pulled hand-offs between two Engines: who says what in which order, and what each side does when
// the other does not answer, or lies.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/handoff/engine_pull_rig.h"

namespace baton_test {
namespace {

using baton::GrantId;
using baton::State;
using baton::StatusCode;
using baton::TransferId;
using baton::handoff::PullState;
using baton::handoff::ReadGrantState;
using baton::wire::Cancel;
using baton::wire::GrantEndAck;
using baton::wire::GrantOffer;
using baton::wire::Quiesced;
using baton::wire::ReadDone;
using baton::wire::ReadStart;

TEST(EnginePull, IsDoneWithItsLastReadAndTheSourceTakesItsWord) {
  EnginePair pair;
  pair.start_pull();
  pair.seal();
  pair.turn_while_awake();
  EXPECT_EQ(pair.grant->life.state(), State::kDone);
  EXPECT_TRUE(pair.grant->all->poll().is_ok());
  EXPECT_EQ(pair.compare_all(), "");
  EXPECT_EQ(pair.transfer->life.state(), State::kActive);
  EXPECT_EQ(EnginePair::waiting(pair.receiver()), Names{"ReadDone"});
  EXPECT_TRUE(pair.writer().outbox.empty());
  const auto done = pair.deliver<ReadDone>(pair.receiver());
  EXPECT_EQ(done.code, StatusCode::kOk);
  EXPECT_EQ(done.units, 8u);
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
  EXPECT_EQ(pair.writer().ended_transfers, std::vector<TransferId>{pair.transfer->id});
  pair.deliver<GrantEndAck>(pair.writer());
  EXPECT_TRUE(is_free(pair));
}

TEST(EnginePull, ReadsWhatIsFinalAndNoMore) {
  EnginePair pair;
  pair.start_pull();
  submit(pair, 0, 7);  // one block of four, and most of the next
  pair.turn_while_awake();
  auto& pull = static_cast<PullState&>(*pair.grant);
  EXPECT_EQ(pull.reads[0].final_tokens, 7u);
  EXPECT_EQ(pull.reads[0].accepted_bytes, EnginePair::kBlockBytes);
  EXPECT_FALSE(pair.grant->layers[0].gate->is_open());
  submit(pair, 7, 16);
  pair.turn_while_awake();
  EXPECT_EQ(pair.grant->life.state(), State::kDone);
  EXPECT_EQ(pair.compare_all(), "");
  settle(pair);
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
}

TEST(EnginePull, NothingIsReadBeforeALeaseIsHeld) {
  EnginePair pair;
  pair.receiver().lease_basis = 0;
  pair.start_pull();
  pair.seal();
  pair.turn_while_awake();
  EXPECT_TRUE(pair.is_untouched());
  EXPECT_FALSE(pair.receiver().has_work());
  pair.receiver().lease_basis = 1;
  EXPECT_TRUE(pair.receiver().has_work());
  pair.turn_while_awake();
  EXPECT_EQ(pair.compare_all(), "");
  settle(pair);
}

TEST(EnginePull, ReaderCancelsAndAsksForTheSourcesCounts) {
  EnginePair pair(slow_plan());
  pair.start_pull();
  pair.seal();
  pair.turns(3);
  pair.cancel_grant();
  pair.turns();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelling);
  EXPECT_TRUE(pair.grant->all->is_open());
  pair.deliver<Cancel>(pair.receiver());
  const auto quiesced = pair.deliver<Quiesced>(pair.writer());
  ASSERT_EQ(quiesced.paths.size(), 1u);
  pair.turns();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  pair.receiver().memory().poison();
  pair.turns();
  EXPECT_TRUE(pair.is_untouched());
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelling) << "its reader has not said so yet";
  pair.deliver<ReadDone>(pair.receiver());
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
  pair.deliver<GrantEndAck>(pair.writer());
  EXPECT_TRUE(is_free(pair));
}

// Reads are on their way when the source's word is here: their bytes may still come.
TEST(EnginePull, IsNotQuietWhileAReadIsOut) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.delay_min_ns = plan.delay_max_ns = 10 * kMs;
  EnginePair pair(plan);
  pair.start_pull();
  pair.seal();
  pair.turns();
  pair.advance(10 * kMs);
  pair.turns();  // the immediates came, and the reads are out
  auto& pull = static_cast<PullState&>(*pair.grant);
  ASSERT_GT(pull.ops_out(), 0u);
  pair.cancel_grant();
  pair.receiver().turn();
  pair.deliver<Cancel>(pair.receiver());
  pair.deliver<Quiesced>(pair.writer());
  pair.turns();
  EXPECT_GT(pull.ops_out(), 0u);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelling);
  pair.advance(10 * kMs);
  settle(pair);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
}

TEST(EnginePull, SourceCancelsAndRefusesAtOnce) {
  EnginePair pair(slow_plan());
  pair.start_pull();
  pair.seal();
  pair.turns(3);
  pair.cancel_transfer();
  pair.writer().memory().poison();  // what is served from now on would be seen
  pair.turn_while_awake();
  auto& pull = static_cast<PullState&>(*pair.grant);
  EXPECT_TRUE(pull.is_refused);
  EXPECT_EQ(pair.grant->life.state(), State::kActive) << "it waits for the reason";
  EXPECT_EQ(EnginePair::waiting(pair.writer()), (Names{"Cancel", "Quiesced"}));
  settle(pair);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
  EXPECT_TRUE(is_free(pair));
}

TEST(EnginePull, ARefusalWithoutAReasonEndsIt) {
  EnginePair pair(slow_plan());
  pair.start_pull();
  pair.seal();
  pair.turns(3);
  pair.cancel_transfer(StatusCode::kDeadlineExceeded);
  pair.turn_while_awake();
  pair.advance(199 * kMs);
  pair.turns();
  EXPECT_EQ(pair.grant->life.state(), State::kActive);
  pair.advance(2 * kMs);
  pair.turns();
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPermissionDenied);
  settle(pair);
  EXPECT_EQ(pair.grant->life.state(), State::kFailed);
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kPermissionDenied);
}

// The source has cancelled, and has no answer 499 ms later.
void cancel_without_an_answer(EnginePair& pair) {
  pair.start_pull();
  pair.seal();
  pair.turns(3);
  pair.cancel_transfer();
  pair.writer().turn();
  pair.advance(499 * kMs);
  pair.writer().turn();
  EXPECT_EQ(EnginePair::waiting(pair.writer()), (Names{"Cancel", "Quiesced"}));
}

TEST(EnginePull, ASourceWithoutAnAnswerFencesAfterHalfASecondAndIsInDoubtAfterOneAndAHalf) {
  EnginePair pair(slow_plan());
  cancel_without_an_answer(pair);
  pair.advance(2 * kMs);
  for (int i = 0; i < 4; ++i) pair.writer().turn();
  EXPECT_EQ(EnginePair::waiting(pair.writer()), (Names{"Cancel", "Quiesced", "Fence", "Fenced"}));
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelling);
  pair.advance(997 * kMs);
  pair.writer().turn();
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelling);
  pair.advance(2 * kMs);
  pair.writer().turn();
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kInDoubt);
  EXPECT_EQ(pair.transfer->life.state(), State::kFailed);
  pair.writer().memory().poison();
  settle(pair);
  EXPECT_FALSE(pair.grant->life.status().is_ok());
  EXPECT_TRUE(pair.grant->life.is_terminal());
  EXPECT_TRUE(is_free(pair));
}

// A reader whose Path stands still cannot stop before the fence, and says then how it ended.
TEST(EnginePull, TheWordThatTheFenceBringsIsTheVerdict) {
  EnginePair pair(slow_plan());
  cancel_without_an_answer(pair);
  pair.advance(2 * kMs);
  for (int i = 0; i < 4; ++i) pair.writer().turn();
  settle(pair);
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled)
      << pair.transfer->life.status().to_string();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_TRUE(is_free(pair));
}

TEST(EnginePull, AReaderWithoutAnAnswerFencesAfterOneAndAHalfSeconds) {
  EnginePair pair(slow_plan());
  pair.start_pull();
  pair.seal();
  pair.turns(3);
  pair.cancel_grant();
  pair.receiver().turn();
  pair.advance(1499 * kMs);
  pair.receiver().turn();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelling);
  pair.advance(2 * kMs);
  for (int i = 0; i < 4; ++i) pair.receiver().turn();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  pair.receiver().memory().poison();
  settle(pair);
  EXPECT_TRUE(pair.is_untouched());
  EXPECT_TRUE(pair.transfer->life.is_terminal());
  EXPECT_TRUE(is_free(pair));
}

TEST(EnginePull, AnOfferThatNobodyPulledEndsAtOnce) {
  EnginePair pair;
  pair.transfer = pair.make_read_grant();
  pair.open(pair.transfer);
  pair.deliver<GrantOffer>(pair.writer());
  pair.cancel_transfer();
  pair.writer().turn();
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
  pair.deliver<Cancel>(pair.writer());
  EXPECT_TRUE(pair.receiver().read_offers.empty());
  const auto done = pair.deliver<ReadDone>(pair.receiver());
  EXPECT_EQ(done.code, StatusCode::kCancelled);
  settle(pair);
}

TEST(EnginePull, ACancelBeforeTheOfferLeavesTellsNobody) {
  EnginePair pair;
  pair.transfer = pair.make_read_grant();
  pair.cancel_transfer();
  pair.open(pair.transfer);
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
  EXPECT_TRUE(pair.writer().outbox.empty());
}

TEST(EnginePull, ACancelThatCrossesTheStartEndsBoth) {
  EnginePair pair;
  pair.transfer = pair.make_read_grant();
  pair.open(pair.transfer);
  pair.deliver<GrantOffer>(pair.writer());
  pair.grant = pair.make_pull(static_cast<ReadGrantState&>(*pair.transfer));
  pair.open(pair.grant);
  pair.cancel_transfer();
  pair.writer().turn();
  EXPECT_TRUE(pair.transfer->life.is_terminal()) << "of what was not told nothing was read";
  pair.deliver<ReadStart>(pair.receiver());
  settle(pair);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_TRUE(is_free(pair));
}

// The offer went between the caller's look at it and the data thread's.
TEST(EnginePull, APullOfAnOfferThatIsGoneEndsCancelled) {
  EnginePair pair;
  auto read_grant = pair.make_read_grant();
  pair.grant = pair.make_pull(*read_grant);
  pair.open(pair.grant);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_TRUE(pair.receiver().outbox.empty());
  EXPECT_TRUE(is_free(pair));
}

TEST(EnginePull, ALateCancelIsAnsweredWithTheVerdict) {
  EnginePair pair;
  pair.start_pull();
  pair.seal();
  pair.turn_while_awake();
  ASSERT_EQ(pair.grant->life.state(), State::kDone);
  pair.cancel_transfer();
  pair.writer().turn();
  pair.deliver<Cancel>(pair.writer());
  EXPECT_EQ(EnginePair::waiting(pair.receiver()), (Names{"ReadDone", "ReadDone"}));
  settle(pair);
  EXPECT_EQ(pair.transfer->life.state(), State::kDone) << "the reader had decided before";
}

TEST(EnginePull, LostPeersAreLostOnBothSides) {
  EnginePair pair(slow_plan());
  pair.start_pull();
  pair.seal();
  pair.turns(3);
  const baton::PeerId peer(EngineSide::kPeer);
  const baton::Status lost(StatusCode::kPeerLost, "gone");
  ASSERT_TRUE(pair.grant->begin_cancel(lost, pair.now()));
  ASSERT_TRUE(pair.transfer->life.begin_cancel(lost));
  pair.writer().control(baton::handoff::PeerDown{peer, lost});
  pair.receiver().control(baton::handoff::PeerDown{peer, lost});
  pair.turns();
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPeerLost);
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kPeerLost);
  EXPECT_TRUE(pair.grant->life.is_terminal());
  EXPECT_TRUE(pair.transfer->life.is_terminal());
}

// ---- several Paths

}  // namespace
}  // namespace baton_test
