// Pulled hand-offs between two Engines whose Paths die.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/unit/handoff/engine_pull_rig.h"

namespace baton_test {
namespace {

using baton::State;
using baton::StatusCode;
using baton::handoff::PullState;

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
