// Several Paths to a peer: units striped over them, one that dies in the middle, settlement, and
// what happens when all die.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/handoff/engine_pair.h"

namespace baton_test {
namespace {

using baton::PathEpoch;
using baton::PeerId;
using baton::State;
using baton::Status;
using baton::StatusCode;
using baton::wire::Cancel;
using baton::wire::Credits;
using baton::wire::Fence;
using baton::wire::Fenced;
using baton::wire::GrantEnd;
using baton::wire::GrantOffer;
using baton::wire::Quiesced;
using baton::wire::Settle;
using Names = std::vector<std::string>;

constexpr uint64_t kEpoch = EnginePair::kEpoch;

// The writer's end of Path `ordinal` breaks with its post number `after`.
baton_loopback_plan killing(uint32_t ordinal, uint32_t after, baton_loopback_kill mode) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.kill_path = static_cast<int32_t>(2 * ordinal);
  plan.kill_after_posts = after;
  plan.kill_mode = mode;
  // One post a unit, so that a Path dies in the middle of a layer.
  plan.flags = 0;
  return plan;
}

std::vector<uint64_t> epochs_of_fences(const EngineSide& side) {
  std::vector<uint64_t> epochs;
  for (const auto& message : side.outbox) {
    if (const auto* fence = std::get_if<Fence>(&message)) epochs.push_back(fence->epoch.value);
  }
  return epochs;
}

class EnginePaths : public testing::Test {
 protected:
  void make(const baton_loopback_plan& plan, uint32_t paths) {
    pair_ = std::make_unique<EnginePair>(plan, nullptr, paths);
    pair_->start();
  }
  EngineSide& writer() { return pair_->writer(); }
  EngineSide& receiver() { return pair_->receiver(); }
  void expect_done() {
    EXPECT_EQ(pair_->grant->life.state(), State::kDone) << pair_->grant->life.status().to_string();
    EXPECT_EQ(pair_->transfer->life.state(), State::kDone)
        << pair_->transfer->life.status().to_string();
    EXPECT_EQ(pair_->grant->units_counted, pair_->grant->total_units);
    EXPECT_EQ(pair_->compare_all(), "");
    EXPECT_TRUE(writer().dropped.is_ok()) << writer().dropped.to_string();
    EXPECT_TRUE(receiver().dropped.is_ok()) << receiver().dropped.to_string();
  }

  std::unique_ptr<EnginePair> pair_;
};

// A stripe stays with its Path; who comes next takes the one with less to do.
TEST_F(EnginePaths, EveryOpenPathCarriesSome) {
  make(EnginePair::default_plan(), 2);
  const auto first_grant = pair_->grant;
  const auto first = pair_->transfer;
  pair_->seal();
  pair_->grant = pair_->make_grant();
  pair_->open(pair_->grant);
  pair_->deliver<GrantOffer>(receiver());
  pair_->transfer = pair_->make_transfer(*pair_->grant);
  ASSERT_TRUE(writer().engine().submit(baton::handoff::OpenTransfer{pair_->transfer}).is_ok());
  pair_->seal();
  writer().turn();
  EXPECT_NE(first->settlement.used(0), first->settlement.used(1));
  EXPECT_EQ(pair_->transfer->settlement.used(0), first->settlement.used(1));
  EXPECT_EQ(pair_->transfer->settlement.used(1), first->settlement.used(0));
  pair_->settle();
  expect_done();
  EXPECT_EQ(first_grant->life.state(), State::kDone);
}

// One Path loses units at every possible point, with and without notice; the hand-off completes
// over the other.
TEST_F(EnginePaths, AHandoffSurvivesADeathInTheMiddle) {
  for (const auto mode : {BATON_LOOPBACK_KILL_BOTH, BATON_LOOPBACK_KILL_QUIETLY}) {
    for (uint32_t after = 0; after < 8; ++after) {
      SCOPED_TRACE("killed after " + std::to_string(after) + " posts, mode " +
                   std::to_string(mode));
      make(killing(0, after, mode), 2);
      pair_->seal();
      pair_->settle();
      if (mode == BATON_LOOPBACK_KILL_BOTH) {
        expect_done();
        EXPECT_EQ(writer().gone_paths, std::vector<uint32_t>{0});
        EXPECT_EQ(receiver().gone_paths, std::vector<uint32_t>{0});
        const auto& books = pair_->transfer->settlement;
        EXPECT_EQ(books.settlements, 1u);
        EXPECT_EQ(books.units_settled, 8 - after);
      } else {
        // Everything arrives, and only the completions are lost: the verdict is there, the writer
        // waits for its memory.
        EXPECT_EQ(pair_->grant->life.state(), State::kDone);
        pair_->cancel_transfer();
        for (int i = 0; i < 200 && !pair_->transfer->life.is_terminal(); ++i) {
          pair_->advance(20 * kMs);
          pair_->settle();
        }
        EXPECT_EQ(pair_->transfer->life.state(), State::kDone)
            << pair_->transfer->life.status().to_string();
        EXPECT_EQ(pair_->compare_all(), "");
      }
    }
  }
}

// "rewriting that slot is forbidden (its pages may be in use)"
TEST_F(EnginePaths, WhatWasAppliedIsNotWrittenAgain) {
  make(killing(0, 4, BATON_LOOPBACK_KILL_BOTH), 2);
  pair_->seal();
  // Layer 0 arrives and is used; then the Path dies with layer 1.
  pair_->turns(6);
  ASSERT_TRUE(pair_->grant->layers[0].gate->poll().is_ok());
  ASSERT_FALSE(pair_->grant->layers[1].gate->is_open());
  const size_t layer_bytes = size_t{4} * EnginePair::kBlockBytes;
  receiver().memory().poison();
  pair_->settle();
  EXPECT_EQ(pair_->grant->life.state(), State::kDone);
  EXPECT_EQ(receiver().memory().check_poisoned(0, layer_bytes), "");
  EXPECT_NE(receiver().memory().check_poisoned(layer_bytes, layer_bytes), "");
}

TEST_F(EnginePaths, NothingIsSettledBeforeThePeerHasFenced) {
  make(killing(0, 2, BATON_LOOPBACK_KILL_BOTH), 2);
  pair_->seal();
  pair_->turns(20);
  EXPECT_EQ(EnginePair::waiting(writer()), (Names{"Fence", "Fenced"}));
  EXPECT_EQ(pair_->transfer->settlement.bytes_rewritten, 0u);
  pair_->settle();
  expect_done();
}

TEST_F(EnginePaths, ASecondDeathWhileRewritingIsSettledToo) {
  baton_loopback_plan plan = killing(0, 3, BATON_LOOPBACK_KILL_BOTH);
  make(plan, 3);
  pair_->seal();
  writer().turn();
  // The second is fenced by the receiver in the middle of the settlement of the first.
  for (int i = 0; i < 4; ++i) pair_->turns(1);
  writer().receive(Fence{PathEpoch(kEpoch + 1)});
  receiver().receive(Fence{PathEpoch(kEpoch + 1)});
  pair_->settle();
  expect_done();
}

TEST_F(EnginePaths, ASettleThatComesTwiceCountsOnce) {
  make(killing(0, 2, BATON_LOOPBACK_KILL_BOTH), 2);
  pair_->seal();
  // Until the Settle waits to be delivered.
  for (int i = 0; i < 200; ++i) {
    pair_->turns(1);
    const auto names = EnginePair::waiting(writer());
    if (!names.empty() && names.front() == "Settle") break;
    for (auto* from : {&writer(), &receiver()}) {
      if (from->outbox.empty()) continue;
      baton::wire::Message message = std::move(from->outbox.front());
      from->outbox.pop_front();
      (from == &writer() ? receiver() : writer()).receive(std::move(message));
    }
  }
  ASSERT_EQ(EnginePair::waiting(writer()).front(), "Settle");
  const auto settle = std::get<Settle>(writer().outbox.front());
  receiver().receive(settle);
  pair_->settle();
  expect_done();
}

TEST_F(EnginePaths, ASettleOfWhatIsNotMissingIsAProtocolError) {
  make(EnginePair::default_plan(), 2);
  Settle lie;
  lie.grant = pair_->grant->id;
  lie.seq = 1;
  lie.settled.push_back({0, pair_->grant->layers[0].generation, 5});
  receiver().receive(lie);
  EXPECT_EQ(receiver().dropped.code(), StatusCode::kProtocolError);
  EXPECT_EQ(pair_->grant->units_counted, 0u);
  pair_->cancel_grant();
  pair_->settle();
}

TEST_F(EnginePaths, AFencedThatCountsTooMuchIsAProtocolError) {
  make(EnginePair::default_plan(), 2);
  pair_->seal();
  writer().turn();
  const uint32_t used = pair_->transfer->settlement.used(0) ? 0 : 1;
  Fenced lie;
  lie.epoch = PathEpoch(kEpoch + used);
  lie.applied.push_back({pair_->grant->id, 0, pair_->grant->layers[0].generation, 5});
  writer().receive(lie);
  for (int i = 0; i < 3; ++i) writer().turn();
  EXPECT_EQ(writer().dropped.code(), StatusCode::kProtocolError);
  pair_->cancel_transfer();
  for (int i = 0; i < 200 && !pair_->transfer->life.is_terminal(); ++i) {
    pair_->advance(20 * kMs);
    pair_->settle();
  }
}

// "No Path left with units owed or unposted": both sides end with the same code.
TEST_F(EnginePaths, WhenAllDieBothSidesFailAlike) {
  make(EnginePair::default_plan(), 2);
  writer().receive(Fence{PathEpoch(kEpoch)});
  writer().receive(Fence{PathEpoch(kEpoch + 1)});
  pair_->settle();
  pair_->advance(210 * kMs);
  pair_->settle();
  EXPECT_EQ(pair_->grant->life.status().code(), StatusCode::kPathLost);
  EXPECT_EQ(pair_->transfer->life.status().code(), StatusCode::kPathLost)
      << pair_->transfer->life.status().to_string();
  EXPECT_EQ(writer().dropped.code(), StatusCode::kPathLost);
}

TEST_F(EnginePaths, OneThatComesBackIsUsedAgain) {
  make(EnginePair::default_plan(), 2);
  writer().receive(Fence{PathEpoch(kEpoch)});
  pair_->settle();
  ASSERT_EQ(writer().gone_paths, std::vector<uint32_t>{0});
  pair_->reopen(0, kEpoch + 10);
  writer().receive(Fence{PathEpoch(kEpoch + 1)});
  pair_->settle();
  ASSERT_EQ(pair_->transfer->life.state(), State::kActive);
  pair_->seal();
  pair_->settle();
  expect_done();
}

// "A Path is opened to a Peer only while none of its Grants is CANCELLING ..."
TEST_F(EnginePaths, NoneIsOpenedWhileAGrantIsCancelled) {
  make(EnginePair::default_plan(), 2);
  writer().receive(Fence{PathEpoch(kEpoch)});
  pair_->settle();
  pair_->cancel_grant();
  receiver().turn();
  const auto request = ask_for_path(writer(), PeerId(EngineSide::kPeer), PathEpoch(kEpoch + 10));
  receiver().control(baton::handoff::OpenAddressedPath{
      PeerId(EngineSide::kPeer), {request.epoch, 0, {}, {}}, true, request.address});
  EXPECT_EQ(EnginePair::waiting(receiver()), Names{"Cancel"}) << "no answer yet";
  pair_->settle();
  EXPECT_EQ(pair_->grant->life.state(), State::kCancelled);
  EXPECT_EQ(receiver().path_reports.size(), 3u) << "after its end it was opened";
}

// A cancelled Grant is quiet on each Path for itself.
TEST_F(EnginePaths, QuietIsProvedPathByPath) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.bytes_per_progress = EnginePair::kBlockBytes;
  plan.flags = 0;
  plan.max_posts = 2;
  make(plan, 2);
  pair_->seal();
  writer().turn();
  writer().turn();
  pair_->cancel_grant();
  receiver().turn();
  pair_->deliver<Cancel>(receiver());
  writer().turn();
  const auto quiesced = pair_->deliver<Quiesced>(writer());
  ASSERT_EQ(quiesced.paths.size(), 2u);
  pair_->settle();
  EXPECT_EQ(pair_->grant->life.state(), State::kCancelled);
  EXPECT_EQ(pair_->transfer->life.state(), State::kCancelled);
  EXPECT_TRUE(epochs_of_fences(receiver()).empty());
}

TEST_F(EnginePaths, OnlyTheUnquietPathIsFenced) {
  make(EnginePair::default_plan(), 2);
  pair_->cancel_grant();
  receiver().turn();
  Quiesced half;
  half.grant = pair_->grant->id;
  half.paths.push_back({PathEpoch(kEpoch), false, {0, 0}});
  half.paths.push_back({PathEpoch(kEpoch + 1), true, {}});
  receiver().receive(half);
  for (int i = 0; i < 3; ++i) receiver().turn();
  EXPECT_EQ(epochs_of_fences(receiver()), std::vector<uint64_t>{kEpoch + 1});
  EXPECT_EQ(pair_->grant->life.state(), State::kCancelled);
  pair_->settle();
  EXPECT_TRUE(receiver().dropped.is_ok());
}

// The writer's end of a new Path was open, and carried a unit, before this one is.
TEST_F(EnginePaths, APathThatIsExpectedIsNotQuietWhenTheWriterNamesIt) {
  constexpr uint64_t kNext = kEpoch + 10;
  for (const bool is_named : {false, true}) {
    make(EnginePair::default_plan(), 1);
    receiver().control(
        baton::handoff::ExpectPath{PeerId(EngineSide::kPeer), {PathEpoch(kNext), 1, {}, {}}});
    pair_->cancel_grant();
    receiver().turn();
    Quiesced quiesced;
    quiesced.grant = pair_->grant->id;
    quiesced.paths.push_back({PathEpoch(kEpoch), false, {0, 0}});
    if (is_named) quiesced.paths.push_back({PathEpoch(kNext), false, {1, 0}});
    receiver().receive(quiesced);
    receiver().turn();
    EXPECT_EQ(pair_->grant->life.is_terminal(), !is_named);
    pair_->advance(500 * kMs);
    for (int i = 0; i < 3; ++i) receiver().turn();
    EXPECT_EQ(pair_->grant->life.state(), State::kCancelled);
    EXPECT_EQ(epochs_of_fences(receiver()),
              is_named ? std::vector<uint64_t>{kNext} : std::vector<uint64_t>());
    pair_->settle();
  }
}

// Whatever order the two ends notice in, each hears that the other has fenced.
TEST_F(EnginePaths, AFenceOfAPathThatIsStillOpeningIsAnswered) {
  make(EnginePair::default_plan(), 2);
  const PathEpoch next(kEpoch + 10);
  receiver().receive(Fence{next});
  EXPECT_EQ(EnginePair::waiting(receiver()), Names{"Fenced"}) << "it never came to be";
  receiver().outbox.clear();
  receiver().control(baton::handoff::ExpectPath{PeerId(EngineSide::kPeer), {next, 2, {}, {}}});
  receiver().receive(Fence{next});
  receiver().turn();
  EXPECT_EQ(EnginePair::waiting(receiver()), (Names{"Fence", "Fenced"}));
  receiver().receive(Fenced{next, {}});
  receiver().turn();
  EXPECT_EQ(receiver().gone_paths, std::vector<uint32_t>{2});
  receiver().outbox.clear();
  pair_->cancel_grant();
  pair_->settle();
}

TEST_F(EnginePaths, PlainBytesGoAgainOverWhatIsLeft) {
  pair_ = std::make_unique<EnginePair>(killing(0, 1, BATON_LOOPBACK_KILL_BOTH), nullptr, 2);
  pair_->grant = pair_->make_range_grant();
  pair_->open(pair_->grant);
  pair_->deliver<GrantOffer>(receiver());
  auto write = pair_->make_write(*pair_->grant);
  pair_->open(write);
  pair_->settle();
  EXPECT_EQ(write->life.state(), State::kDone) << write->life.status().to_string();
  EXPECT_EQ(compare_bytes(writer().memory().bytes(), receiver().memory().bytes()), "");
  EXPECT_EQ(writer().gone_paths, std::vector<uint32_t>{0});
  pair_->cancel_grant();
  pair_->settle();
}

// A write whose first half goes over Path 0, which breaks with it, and whose second half goes over
// Path 1; all of it goes again over Path 2 alone. What follows the first flush of Path 1, which is
// its post number 4, stands still for a while.
class WriteThatStartsOver : public EnginePaths {
 protected:
  static constexpr int64_t kStallMs = 100;

  WriteThatStartsOver() {
    baton_loopback_plan plan = killing(0, 2, BATON_LOOPBACK_KILL_BOTH);
    plan.stall_path = 2;
    plan.stall_after_posts = 5;
    plan.stall_until_ns = (1000 + kStallMs) * kMs;
    pair_ = std::make_unique<EnginePair>(plan, nullptr, 3);
    pair_->grant = pair_->make_range_grant();
    pair_->open(pair_->grant);
    pair_->deliver<GrantOffer>(receiver());
    pair_->transfer = pair_->make_write(*pair_->grant);
    steer(0, writer().memory().size() / 2);
    pair_->open(pair_->transfer);
    EXPECT_EQ(write().posted_paths(), 3u);
    pair_->turns();
    EXPECT_EQ(write().flushed, 2u) << "of the first attempt";
    steer(2, UINT64_MAX);
    pair_->settle();
    EXPECT_EQ(writer().gone_paths, std::vector<uint32_t>{0});
    EXPECT_EQ(write().used_paths, 4u) << "only Path 2 carries the second attempt";
  }

  baton::handoff::TransferState& write() { return *pair_->transfer; }
  void steer(uint32_t ordinal, uint64_t bytes) { write().stripe = {ordinal, UINT32_MAX, bytes}; }
  void end() {
    pair_->cancel_grant();
    pair_->settle();
    EXPECT_TRUE(pair_->grant->life.is_terminal());
  }
};

// What Path 1 carried of the first attempt could land on top of what the peer does with its memory
// once it is told that the bytes are there.
TEST_F(WriteThatStartsOver, IsDoneWhenEveryLivingPathThatCarriedSomeIsFlushed) {
  EXPECT_EQ(write().flushed, 4u);
  EXPECT_EQ(write().life.state(), State::kActive) << write().life.status().to_string();
  pair_->advance(kStallMs * kMs);
  pair_->settle();
  EXPECT_EQ(write().life.state(), State::kDone) << write().life.status().to_string();
  EXPECT_EQ(compare_bytes(writer().memory().bytes(), receiver().memory().bytes()), "");
  end();
}

TEST_F(WriteThatStartsOver, IsNotHeldUpByOneThatDiesAndCarriesNothingMore) {
  writer().receive(Fence{PathEpoch(kEpoch + 1)});
  const uint64_t posts = write().posts;
  pair_->settle();
  EXPECT_EQ(write().life.state(), State::kDone) << write().life.status().to_string();
  EXPECT_EQ(write().posts, posts) << "nothing went a third time";
  EXPECT_EQ(compare_bytes(writer().memory().bytes(), receiver().memory().bytes()), "");
  end();
}

TEST_F(WriteThatStartsOver, IsInDoubtWhenItIsCancelledAndAnEarlierPathDiesUnflushed) {
  pair_->cancel_transfer();
  writer().turn();
  writer().receive(Fence{PathEpoch(kEpoch + 1)});
  pair_->settle();
  EXPECT_EQ(write().life.status().code(), StatusCode::kInDoubt)
      << write().life.status().to_string();
  end();
}

TEST_F(EnginePaths, CreditsBoundWhatIsUnderWay) {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.flags = 0;
  plan.receive_depth = 2;                                  // one more on its way breaks the Path
  pair_ = std::make_unique<EnginePair>(plan, nullptr, 0);  // by hand, with credits
  const PeerId peer(EngineSide::kPeer);
  const baton::handoff::PathPlan path{PathEpoch(kEpoch), 0, {}, {}, 2};
  writer().control(baton::handoff::OpenAddressedPath{peer, path, false, {}});
  const auto request = std::get<baton::wire::PathRequest>(writer().outbox.front());
  writer().outbox.pop_front();
  const auto reply = answer_with_path(receiver(), peer, request);
  writer().control(baton::handoff::ConnectPath{peer, reply.epoch, reply.address});
  pair_->start();
  pair_->seal();
  for (int i = 0; i < 5; ++i) writer().turn();
  EXPECT_EQ(pair_->transfer->record().immediates, 2u);
  pair_->settle();
  expect_done();
  writer().receive(Credits{PathEpoch(kEpoch), 1000});
  EXPECT_EQ(writer().dropped.code(), StatusCode::kProtocolError);
}

}  // namespace
}  // namespace baton_test
