// The Engine as receiver: how a Grant ends, whatever the writer says and in whatever order it is
// heard.
#include <gtest/gtest.h>

#include "tests/unit/handoff/engine_pair.h"

namespace baton_test {
namespace {

using baton::GrantId;
using baton::State;
using baton::Status;
using baton::StatusCode;
using baton::wire::Cancel;
using baton::wire::Fence;
using baton::wire::Fenced;
using baton::wire::GrantEnd;
using baton::wire::GrantEndAck;
using baton::wire::GrantOffer;
using baton::wire::Quiesced;

using Names = std::vector<std::string>;

baton_loopback_plan slow_plan() {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.bytes_per_progress = EnginePair::kBlockBytes;  // one unit a turn
  return plan;
}

TEST(EngineGrant, IsDoneWithItsLastUnitWithoutAWordOfTheWriter) {
  EnginePair pair;
  pair.start();
  pair.seal();
  pair.turns();
  EXPECT_EQ(pair.grant->life.state(), State::kDone);
  EXPECT_TRUE(pair.grant->all->poll().is_ok());
  EXPECT_EQ(pair.compare_all(), "");
  EXPECT_EQ(EnginePair::waiting(pair.receiver()), Names{"GrantEnd"});
  EXPECT_TRUE(pair.writer().outbox.empty());
  EXPECT_EQ(pair.receiver().ended_grants, std::vector<GrantId>{pair.grant->id});
  const auto end = pair.deliver<GrantEnd>(pair.receiver());
  EXPECT_EQ(end.verdict, StatusCode::kOk);
  EXPECT_EQ(end.units, 8u);
  EXPECT_EQ(pair.transfer->life.state(), State::kDone);
  pair.deliver<GrantEndAck>(pair.writer());
  EXPECT_EQ(pair.receiver().counters().num_free(), 64u);
}

// Its pages are reused from the moment at which its gates open, which is within a progress() that
// may find more of the peer's bytes.
TEST(EngineGrant, TakesNothingBehindItsLastUnit) {
  EnginePair pair;
  pair.start();
  pair.seal();
  pair.writer().turn();
  pair.receiver().progress();
  ASSERT_EQ(pair.grant->life.state(), State::kDone);
  auto stray = pair.make_write(*pair.grant);  // the writer's memory as it lies
  pair.open(stray);
  pair.receiver().progress();  // the same turn still, as a transport sees it
  EXPECT_EQ(pair.compare_all(), "") << "the hand-off puts the blocks in the other order";
  pair.settle();
  EXPECT_EQ(pair.compare_all(), "");
  EXPECT_EQ(stray->life.state(), State::kDone) << "dropped, as the late bytes of any ended Grant";
  EXPECT_GT(stray->posts, 0u);
  auto next = pair.make_range_grant();
  pair.open(next);
  EXPECT_TRUE(next->life.is_active()) << "the Path lives";
  pair.grant = next;
  pair.cancel_grant();
  pair.settle();
}

TEST(EngineGrant, GatesOpenLayerByLayer) {
  EnginePair pair(slow_plan());
  pair.start();
  pair.seal();
  for (int i = 0; i < 20 && !pair.grant->layers[0].gate->is_open(); ++i) {
    EXPECT_FALSE(pair.grant->layers[1].gate->is_open());
    pair.turns(1);
  }
  EXPECT_TRUE(pair.grant->layers[0].gate->poll().is_ok());
  EXPECT_FALSE(pair.grant->layers[1].gate->is_open());
  EXPECT_FALSE(pair.grant->all->is_open());
  pair.settle();
  EXPECT_TRUE(pair.grant->layers[1].gate->poll().is_ok());
  EXPECT_TRUE(pair.grant->all->poll().is_ok());
}

TEST(EngineGrant, CancelledBeforeAnyTransfer) {
  EnginePair pair;
  pair.grant = pair.make_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  pair.cancel_grant();
  pair.receiver().turn();
  pair.deliver<Cancel>(pair.receiver());
  EXPECT_TRUE(pair.writer().offers.empty());
  const auto quiesced = pair.deliver<Quiesced>(pair.writer());
  EXPECT_FALSE(quiesced.paths.at(0).broken);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(pair.deliver<GrantEnd>(pair.receiver()).verdict, StatusCode::kCancelled);
  pair.deliver<GrantEndAck>(pair.writer());
  EXPECT_TRUE(pair.is_untouched());
}

// "Units that arrive while CANCELLING count towards quiet, never towards COMPLETE."
TEST(EngineGrant, UnitsThatArriveWhileCancellingNeverComplete) {
  EnginePair pair;
  pair.start();
  pair.seal();
  pair.writer().turn();
  pair.writer().turn();
  pair.cancel_grant();
  pair.receiver().turn();  // every unit arrives here
  EXPECT_EQ(pair.grant->units_counted, 8u);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelling);
  EXPECT_EQ(pair.grant->all->poll().code(), StatusCode::kCancelled);
  pair.settle();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled);
  EXPECT_FALSE(pair.receiver().dropped.code() == StatusCode::kPathLost);
}

TEST(EngineGrant, IsNotQuietBeforeWhatWasSignalledIsApplied) {
  EnginePair pair(slow_plan());
  pair.start();
  pair.seal();
  pair.writer().turn();
  pair.writer().turn();
  pair.receiver().turn();  // one unit is placed, eight are signalled
  pair.cancel_grant();
  pair.receiver().turn();
  pair.deliver<Cancel>(pair.receiver());
  pair.writer().turn();
  const auto quiesced = pair.deliver<Quiesced>(pair.writer());
  EXPECT_EQ(quiesced.paths.at(0).signalled, (std::vector<uint64_t>{4, 4}));
  EXPECT_EQ(pair.grant->life.state(), State::kCancelling) << "bytes are on their way";
  for (int i = 0; i < 12; ++i) pair.receiver().turn();
  EXPECT_EQ(pair.grant->units_counted, 8u);
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(EnginePair::waiting(pair.receiver()), Names{"GrantEnd"}) << "no fence was needed";
  pair.settle();
}

TEST(EngineGrant, FencesAWriterThatDoesNotAnswerAfter500Ms) {
  EnginePair pair;
  pair.start();
  pair.cancel_grant();
  pair.receiver().turn();
  pair.advance(499 * kMs);
  pair.receiver().turn();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelling);
  EXPECT_EQ(EnginePair::waiting(pair.receiver()), Names{"Cancel"});
  pair.advance(1 * kMs);
  for (int i = 0; i < 3; ++i) pair.receiver().turn();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(EnginePair::waiting(pair.receiver()), (Names{"Cancel", "Fence", "Fenced", "GrantEnd"}));
  // What the writer sends from here on goes nowhere.
  pair.seal();
  for (int i = 0; i < 5; ++i) pair.writer().turn();
  pair.receiver().turn();
  EXPECT_TRUE(pair.is_untouched());
  pair.settle();
  EXPECT_EQ(pair.transfer->life.state(), State::kCancelled) << "the verdict is adopted";
}

TEST(EngineGrant, FencesAtOnceWhenTheWritersPathIsBroken) {
  EnginePair pair;
  pair.start();
  pair.cancel_grant();
  pair.receiver().turn();
  Quiesced broken;
  broken.grant = pair.grant->id;
  broken.paths.push_back({baton::PathEpoch(77), true, {}});
  pair.receiver().receive(broken);
  for (int i = 0; i < 3; ++i) pair.receiver().turn();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(EnginePair::waiting(pair.receiver()).at(1), "Fence");
}

TEST(EngineGrant, AStaleGenerationIsAProtocolErrorAndFences) {
  EnginePair pair;
  pair.grant = pair.make_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  pair.transfer = pair.make_transfer(*pair.grant);
  pair.transfer->slots[1].generation ^= 1;
  pair.open(pair.transfer);
  pair.seal();
  pair.turns();
  EXPECT_TRUE(pair.grant->layers[0].gate->poll().is_ok()) << "the first layer was in order";
  EXPECT_EQ(pair.grant->life.state(), State::kActive);
  pair.advance(200 * kMs);  // a peer's death would be told by now
  pair.turns();
  EXPECT_EQ(pair.grant->life.state(), State::kFailed);
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost);
  EXPECT_NE(pair.grant->life.status().message().find("stale generation"), std::string::npos)
      << pair.grant->life.status().to_string();
  EXPECT_EQ(pair.grant->units_counted, 4u);
}

TEST(EngineGrant, MoreUnitsThanPlannedAreAProtocolError) {
  EnginePair pair;
  pair.grant = pair.make_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  pair.transfer = pair.make_transfer(*pair.grant);
  pair.transfer->slots[1] = pair.transfer->slots[0];  // both layers into one slot
  pair.transfer->slots[1].ordinal = 1;
  pair.open(pair.transfer);
  pair.seal();
  pair.turns();
  pair.advance(200 * kMs);
  pair.turns();
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost);
  EXPECT_NE(pair.grant->life.status().message().find("protocol error"), std::string::npos);
  EXPECT_EQ(pair.grant->units_counted, 4u);
  EXPECT_FALSE(pair.grant->layers[1].gate->poll().is_ok());
}

// The caller's thread arms the slots; the Grant that they belong to waits in the queue.
TEST(EngineGrant, AnImmediateForASlotThatIsNotOfferedYetIsAProtocolError) {
  EnginePair pair;
  pair.grant = pair.make_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  const auto armed = pair.make_grant();
  pair.transfer = pair.make_transfer(*pair.grant);
  pair.transfer->slots[0] = {armed->layers[0].slot, armed->layers[0].generation, 0};
  pair.open(pair.transfer);
  pair.seal();
  pair.turns();
  pair.open(armed);
  pair.advance(200 * kMs);
  pair.turns();
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost);
  EXPECT_NE(pair.grant->life.status().message().find("not offered yet"), std::string::npos)
      << pair.grant->life.status().to_string();
  EXPECT_EQ(armed->life.status().code(), StatusCode::kPathLost);
  EXPECT_EQ(armed->units_counted, 0u);
  EXPECT_EQ(pair.receiver().counters().num_free(), 64u);
}

TEST(EngineGrant, AWriteOutsideTheGrantEndsThePath) {
  EnginePair pair;
  pair.grant = pair.make_grant();
  pair.grant->permissions = baton::handoff::PermissionTable();
  pair.grant->permissions.add({EngineSide::kSection, 0, 4096, pair.receiver().memory().data()});
  pair.grant->permissions.seal();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  pair.transfer = pair.make_transfer(*pair.grant);
  pair.open(pair.transfer);
  pair.seal();
  pair.turns();
  pair.advance(200 * kMs);
  pair.turns();
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost)
      << pair.grant->life.status().to_string();
  EXPECT_EQ(pair.receiver().memory().check_poisoned(4096, 7 * 4096), "");
}

TEST(EngineGrant, ALostPeerEndsItAndIsToldNothingMore) {
  EnginePair pair;
  pair.start();
  const Status why(StatusCode::kPeerLost, "gone");
  pair.receiver().control(baton::handoff::PeerDown{baton::PeerId(EngineSide::kPeer), why});
  for (int i = 0; i < 3; ++i) pair.receiver().turn();
  EXPECT_EQ(pair.grant->life.state(), State::kFailed);
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPeerLost);
  EXPECT_TRUE(pair.receiver().outbox.empty());
  EXPECT_EQ(pair.receiver().ended_grants.size(), 1u);
}

TEST(EngineGrant, OpenedForAPeerThatIsGoneEndsAtOnce) {
  EnginePair pair;
  const Status why(StatusCode::kPeerLost, "gone");
  pair.receiver().control(baton::handoff::PeerDown{baton::PeerId(EngineSide::kPeer), why});
  pair.grant = pair.make_grant();
  pair.open(pair.grant);
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPeerLost);
  EXPECT_EQ(pair.grant->all->poll().code(), StatusCode::kPeerLost);
  EXPECT_EQ(pair.receiver().ended_grants.size(), 1u);
  EXPECT_EQ(pair.receiver().counters().num_free(), 64u);
}

// A thread that cancels has won, and has not come to the gates.
TEST(EngineGrant, OpenedForAPeerThatIsGoneLeavesNoGateToAnotherThread) {
  EnginePair pair;
  const Status why(StatusCode::kPeerLost, "gone");
  pair.receiver().control(baton::handoff::PeerDown{baton::PeerId(EngineSide::kPeer), why});
  pair.grant = pair.make_grant();
  ASSERT_TRUE(pair.grant->life.begin_cancel(Status(StatusCode::kCancelled, "elsewhere")));
  pair.open(pair.grant);
  EXPECT_TRUE(pair.grant->life.is_terminal());
  EXPECT_EQ(pair.grant->all->poll().code(), StatusCode::kPeerLost);
  for (uint32_t i = 0; i < EnginePair::kLayers; ++i)
    EXPECT_EQ(pair.grant->layers[i].gate->poll().code(), StatusCode::kPeerLost) << "layer " << i;
}

// The receiver decided before it heard of the writer's cancel.
TEST(EngineGrant, ALateCancelIsAnsweredWithTheVerdictUntilThatIsAcknowledged) {
  EnginePair pair;
  pair.start();
  pair.seal();
  pair.turns();
  ASSERT_EQ(pair.grant->life.state(), State::kDone);
  const Cancel late{pair.grant->id, StatusCode::kCancelled, "late"};
  pair.receiver().receive(late);
  EXPECT_EQ(EnginePair::waiting(pair.receiver()), (Names{"GrantEnd", "GrantEnd"}));
  EXPECT_EQ(pair.deliver<GrantEnd>(pair.receiver()).verdict, StatusCode::kOk);
  EXPECT_EQ(pair.deliver<GrantEnd>(pair.receiver()).verdict, StatusCode::kOk);
  EXPECT_EQ(pair.writer().ended_transfers.size(), 1u);
  pair.deliver<GrantEndAck>(pair.writer());
  pair.deliver<GrantEndAck>(pair.writer());
  pair.receiver().receive(late);
  EXPECT_EQ(EnginePair::waiting(pair.receiver()), Names{"Quiesced"}) << "it is forgotten";
}

TEST(EngineGrant, QuiescedOfAnUnknownGrantIsIgnored) {
  EnginePair pair;
  Quiesced stray;
  stray.grant = GrantId(4711);
  pair.receiver().receive(stray);
  pair.settle();
  EXPECT_TRUE(pair.receiver().dropped.is_ok());
}

TEST(EngineGrant, QuiescedOfAPathThatThereIsNotIsAProtocolError) {
  const Quiesced::OnPath real{baton::PathEpoch(77), false, {0, 0}};
  const Quiesced::OnPath other{baton::PathEpoch(78), false, {4, 4}};
  for (const auto& paths :
       {std::vector{other}, std::vector{real, other}, std::vector{real, real}}) {
    EnginePair pair;
    pair.start();
    pair.cancel_grant();
    pair.receiver().turn();
    pair.receiver().receive(Quiesced{pair.grant->id, paths});
    pair.receiver().turn();
    EXPECT_EQ(pair.receiver().dropped.code(), StatusCode::kProtocolError);
    EXPECT_NE(pair.receiver().dropped.message().find("Quiesced"), std::string::npos)
        << pair.receiver().dropped.to_string();
    EXPECT_EQ(pair.grant->life.state(), State::kCancelling) << "nothing of it counts";
    pair.settle();
  }
}

// It was refused here, or is over here, and the writer has not heard of that yet.
TEST(EngineGrant, QuiescedOfABrokenPathThatIsNotHereIsTaken) {
  EnginePair pair;
  pair.start();
  pair.cancel_grant();
  pair.receiver().turn();
  const Quiesced::OnPath real{baton::PathEpoch(77), false, {0, 0}};
  const Quiesced::OnPath refused{baton::PathEpoch(78), true, {0, 0}};
  pair.receiver().receive(Quiesced{pair.grant->id, {real, refused}});
  pair.receiver().turn();
  EXPECT_TRUE(pair.receiver().dropped.is_ok()) << pair.receiver().dropped.to_string();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  pair.settle();
}

TEST(EngineGrant, QuiescedWithoutACancelCancels) {
  EnginePair pair;
  pair.start();
  Quiesced sudden;
  sudden.grant = pair.grant->id;
  sudden.paths.push_back({baton::PathEpoch(77), false, {0, 0}});
  pair.receiver().receive(sudden);
  pair.settle();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
}

TEST(EngineGrant, AFenceOfThePeerEndsEverythingOverThePath) {
  EnginePair pair;
  pair.start();
  pair.receiver().receive(Fence{baton::PathEpoch(76)});
  pair.receiver().turn();
  EXPECT_TRUE(pair.grant->life.is_active()) << "of another epoch: long gone";
  pair.receiver().receive(Fence{baton::PathEpoch(77)});
  for (int i = 0; i < 3; ++i) pair.receiver().turn();
  EXPECT_EQ(pair.grant->life.status().code(), StatusCode::kPathLost);
  pair.settle();
  EXPECT_TRUE(pair.transfer->life.is_terminal());
  EXPECT_EQ(pair.receiver().dropped.code(), StatusCode::kPathLost)
      << "a peer without a Path is dropped when all has ended";
}

TEST(EngineGrant, ARangeGrantWaitsForTheWriteThatIsUnderWay) {
  EnginePair pair(slow_plan());
  pair.grant = pair.make_range_grant();
  pair.open(pair.grant);
  pair.deliver<GrantOffer>(pair.receiver());
  auto write = pair.make_write(*pair.grant);
  pair.open(write);
  pair.writer().turn();
  pair.receiver().turn();
  pair.cancel_grant();
  pair.receiver().turn();
  pair.deliver<Cancel>(pair.receiver());
  EXPECT_TRUE(pair.writer().outbox.empty()) << "QUIESCED comes after the flush";
  EXPECT_EQ(pair.grant->life.state(), State::kCancelling);
  pair.turns(20);
  EXPECT_EQ(write->life.state(), State::kCancelled);
  pair.settle();
  EXPECT_EQ(pair.grant->life.state(), State::kCancelled);
  EXPECT_EQ(write->ops_out, 0u);
}

}  // namespace
}  // namespace baton_test
