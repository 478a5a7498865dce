// Pulled hand-offs between two Engines: who says what in which order, and what each side does when
// the other does not answer, or lies.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/handoff/engine_pair.h"

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

using Names = std::vector<std::string>;

baton_loopback_plan slow_plan() {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.bytes_per_progress = EnginePair::kBlockBytes;  // one unit a turn
  return plan;
}

// Tokens [begin, end) of both layers are final.
void submit(EnginePair& pair, uint32_t begin, uint32_t end) {
  baton::handoff::AddChunk add;
  add.transfer = pair.transfer;
  add.chunk.tokens = {begin, end};
  ++pair.transfer->chunks_queued;
  ASSERT_TRUE(pair.writer().engine().submit(std::move(add)).is_ok());
}

// Until nothing is left to do, to read, or to be delivered.
void settle(EnginePair& pair) {
  do {
    pair.turn_while_awake();
    pair.settle();
    pair.turn_while_awake();
  } while (!pair.writer().outbox.empty() || !pair.receiver().outbox.empty());
}

bool is_free(EnginePair& pair) { return pair.receiver().counters().num_free() == 64u; }

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

// Path `path` of the fabric breaks at both ends with its post number `after`.
baton_loopback_plan killing(int32_t path, uint32_t after) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.kill_path = path;
  plan.kill_after_posts = after;
  plan.kill_mode = BATON_LOOPBACK_KILL_BOTH;
  plan.flags = 0;  // one post a read, so that a Path dies in the middle of a layer
  return plan;
}

void expect_done(EnginePair& pair) {
  EXPECT_EQ(pair.grant->life.state(), State::kDone) << pair.grant->life.status().to_string();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone) << pair.transfer->life.status().to_string();
  EXPECT_EQ(pair.grant->units_counted, pair.grant->total_units);
  EXPECT_EQ(pair.compare_all(), "");
  EXPECT_TRUE(pair.writer().dropped.is_ok()) << pair.writer().dropped.to_string();
  EXPECT_TRUE(pair.receiver().dropped.is_ok()) << pair.receiver().dropped.to_string();
  EXPECT_TRUE(is_free(pair));
}

// The reader's end of one of two Paths dies with its n-th read.
TEST(EnginePull, ReadsThatADeadPathLostAreReadOverTheOther) {
  for (uint32_t after = 0; after < 8; ++after) {
    SCOPED_TRACE("after " + std::to_string(after) + " reads");
    EnginePair pair(killing(1, after), nullptr, 2);
    pair.start_pull();
    pair.seal();
    settle(pair);
    expect_done(pair);
    EXPECT_EQ(pair.receiver().gone_paths, std::vector<uint32_t>{0});
    EXPECT_GT(pair.grant->record().layers_read_again, 0u);
  }
}

// More reads are ready than the Path stages, and it takes one at a time.
TEST(EnginePull, TheLastOfManyHasItsTurnBeforeThoseBeforeItHaveHadAllOfTheirs) {
  constexpr size_t kPulls = 28;  // of eight reads each
  baton_loopback_plan plan = slow_plan();
  plan.max_posts = 1;
  EnginePair pair(plan);
  pair.receiver().lease_basis = 0;  // nothing is read until all is final
  std::vector<std::shared_ptr<PullState>> pulls;
  for (size_t i = 0; i < kPulls; ++i) {
    pair.start_pull();
    pulls.push_back(std::static_pointer_cast<PullState>(pair.grant));
    pair.seal();
    pair.turn_while_awake();
  }
  pair.receiver().lease_basis = 1;
  const auto has_begun = [](const auto& pull) { return pull->reads[0].used_paths != 0; };
  const auto is_staged = [](const auto& pull) {
    return pull->first_ready == pull->num_layers && !pull->unit_pending;
  };
  for (int i = 0; i < 1000 && !has_begun(pulls.back()); ++i) pair.turns(1);
  ASSERT_TRUE(has_begun(pulls.back()));
  EXPECT_FALSE(std::all_of(pulls.begin(), pulls.end() - 1, is_staged));
  settle(pair);
  for (const auto& pull : pulls) EXPECT_EQ(pull->life.state(), State::kDone);
  expect_done(pair);
}

// A layer whose gate is open may be in use: it is not read into again.
TEST(EnginePull, ALayerThatIsWholeIsNotReadAgain) {
  EnginePair pair(killing(1, 5), nullptr, 2);
  pair.start_pull();
  pair.seal();
  for (int i = 0; i < 50 && !pair.grant->layers[0].gate->is_open(); ++i) pair.turns(1);
  ASSERT_TRUE(pair.grant->layers[0].gate->poll().is_ok());
  ASSERT_FALSE(pair.grant->layers[1].gate->is_open());
  const size_t layer_bytes = size_t{4} * EnginePair::kBlockBytes;
  pair.receiver().memory().poison();
  settle(pair);
  EXPECT_EQ(pair.grant->life.state(), State::kDone);
  EXPECT_EQ(pair.receiver().memory().check_poisoned(0, layer_bytes), "");
  EXPECT_NE(pair.receiver().memory().check_poisoned(layer_bytes, layer_bytes), "");
}

// The source's end of one of two Paths dies with its n-th immediate.
TEST(EnginePull, TokensThatADeadPathLostAreToldOverTheOther) {
  for (uint32_t after = 0; after < 8; ++after) {
    SCOPED_TRACE("after " + std::to_string(after) + " immediates");
    EnginePair pair(killing(0, after), nullptr, 2);
    pair.start_pull();
    for (uint32_t token = 0; token < 16; ++token) {
      submit(pair, token, token + 1);
      pair.writer().turn();  // an immediate each, and none is taken meanwhile
    }
    settle(pair);
    expect_done(pair);
    EXPECT_EQ(static_cast<PullState&>(*pair.grant).reads[0].final_tokens, 16u);
  }
}

// The reader is done, and nobody tells the source that its immediates have left.
TEST(EnginePull, CompletionsThatAreLostDoNotKeepTheSource) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.kill_path = 0;
  plan.kill_mode = BATON_LOOPBACK_KILL_QUIETLY;
  EnginePair pair(plan);
  pair.start_pull();
  pair.seal();
  settle(pair);
  EXPECT_EQ(pair.grant->life.state(), State::kDone);
  EXPECT_EQ(pair.transfer->life.state(), State::kActive);
  EXPECT_GT(pair.transfer->ops_out, 0u);
  pair.advance(500 * baton_test::kMs);
  settle(pair);
  EXPECT_EQ(pair.transfer->life.state(), State::kDone) << pair.transfer->life.status().to_string();
}

// A Path over which tokens went dies behind the reader's word, which leaves the Pull out of its
// snapshot; then comes the word once more, as the answer to a late cancel.
TEST(EnginePull, AReaderMaySayItsWordTwice) {
  EnginePair pair(EnginePair::default_plan(), nullptr, 2);
  pair.start_pull();
  pair.seal();
  pair.turn_while_awake();
  ASSERT_EQ(EnginePair::waiting(pair.receiver()), Names{"ReadDone"});
  const baton::wire::Message done = pair.receiver().outbox.front();
  pair.receiver().outbox.clear();
  const baton::PathEpoch epoch(EnginePair::kEpoch);
  pair.writer().receive(baton::wire::Fence{epoch});
  pair.turns();
  pair.writer().outbox.clear();
  // In one turn: the Transfer has not ended in between.
  for (const baton::wire::Message& message :
       {done, baton::wire::Message(baton::wire::Fenced{epoch, {}}), done}) {
    ASSERT_TRUE(pair.writer().engine().from_control(baton::handoff::PeerMessage{
        baton::PeerId(EngineSide::kPeer), std::make_unique<baton::wire::Message>(message)}));
  }
  pair.turns();
  EXPECT_TRUE(pair.writer().dropped.is_ok()) << pair.writer().dropped.to_string();
  EXPECT_EQ(pair.transfer->life.state(), State::kDone) << pair.transfer->life.status().to_string();
  settle(pair);
}

TEST(EnginePull, AFencedThatCountsTooMuchIsAProtocolError) {
  EnginePair pair(EnginePair::default_plan(), nullptr, 2);
  pair.start_pull();
  submit(pair, 0, 3);
  pair.turns();
  const baton::PathEpoch epoch(EnginePair::kEpoch);
  pair.writer().receive(baton::wire::Fence{epoch});
  pair.turns();
  pair.writer().receive(
      baton::wire::Fenced{epoch, {{pair.grant->id, 0, pair.grant->layers[0].generation, 4}}});
  EXPECT_EQ(pair.writer().dropped.code(), StatusCode::kProtocolError);
  pair.cancel_grant();
  settle(pair);
}

TEST(EnginePull, WithoutAPathBothSidesHaveLostIt) {
  EnginePair pair(killing(1, 3));
  pair.start_pull();
  pair.seal();
  for (int i = 0; i < 20 && !pair.transfer->life.is_terminal(); ++i) {
    pair.advance(20 * kMs);
    settle(pair);
  }
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost);
  EXPECT_EQ(pair.transfer->life.status().code(), StatusCode::kPathLost);
  EXPECT_TRUE(is_free(pair));
}

}  // namespace
}  // namespace baton_test
