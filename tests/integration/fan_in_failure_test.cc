// One of several writers fails in the middle: the gates of the group tell it at once, the others
// end, the pages are quiet, and everybody is told.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/integration/cluster_rig.h"
#include "tests/support/test_seed.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::StatusCode;

constexpr uint32_t kWriters = 4;
constexpr uint32_t kBad = 2;  // the one that fails

// Four writers of some heads each, at least two layers.
ClusterCase make_four_writers(uint64_t seed) {
  for (;; ++seed) {
    baton::base::Random random(seed);
    ClusterAxes axes;
    axes.prefill_ranks = kWriters;
    ClusterCase c = make_cluster_case(axes, random);
    const baton::LayerGroup& group = c.decode[0].layout.groups[0];
    if (group.layers.size() == 2 && group.heads_total >= kWriters) return c;
  }
}

class FanInFailure : public testing::TestWithParam<Transport> {
 protected:
  FanInFailure() : cluster_(GetParam(), make_four_writers(test_seed()), test_seed()) {}

  // All four have sent layer 0, and writer 0 all it has.
  void start(uint32_t deadline_ms = 0) {
    auto request = cluster_.request(0, "r");
    request.deadline_ms = deadline_ms;
    group_ = require(cluster_.decode(0).context().grant_group(request), "group");
    for (uint32_t i = 0; i < kWriters; ++i) {
      transfers_.push_back(cluster_.push(i, "r"));
      words_.push_back(
          require(cluster_.prefill(i).context().create_progress_word(), "create_progress_word"));
      require_ok(transfers_[i].submit_chunk({cluster_.layouts().tokens, &words_[i], 0}), "chunk");
      words_[i].tick();
    }
    ASSERT_TRUE(group_.gate(0).wait(20000).is_ok());
    words_[0].tick();
    ASSERT_TRUE(group_.grant(0)->wait(20000).is_ok());
    EXPECT_FALSE(group_.gate(1).is_open());
  }

  // `bad_code`: of the failing writer's Grant, and of the group.
  void expect_ends(StatusCode bad_code) {
    EXPECT_EQ(group_.gate(1).wait(10000).code(), bad_code);
    EXPECT_EQ(group_.all().wait(10000).code(), bad_code);
    EXPECT_TRUE(group_.gate(0).poll().is_ok()) << "a layer that had arrived stays arrived";
    EXPECT_EQ(group_.wait(10000).code(), bad_code) << group_.status().to_string();
    cluster_.decode(0).poison();  // the pages are reused at once
    EXPECT_EQ(group_.state(),
              bad_code == StatusCode::kCancelled ? State::kCancelled : State::kFailed);
    EXPECT_EQ(group_.grant(0)->state(), State::kDone);
    for (const uint32_t i : {1u, 2u, 3u}) {
      const baton::Grant& grant = *group_.grant(i);
      EXPECT_TRUE(baton::is_terminal(grant.state()));
      const std::string text = grant.status().to_string();
      const bool is_first =
          grant.status() != group_.status() &&
          group_.status().message().find("writer " + std::to_string(i) + " (") == 0;
      if (is_first) {
        EXPECT_EQ(grant.status().code(), bad_code) << text;
      } else {
        EXPECT_EQ(grant.status().code(), StatusCode::kCancelled) << text;
        EXPECT_NE(text.find("grant group"), std::string::npos) << text;
      }
    }
    expect_events(bad_code);
  }

  void expect_events(StatusCode bad_code) {
    uint32_t grants = 0;
    for (;;) {
      const baton::Event event =
          require(cluster_.decode(0).context().wait_event(20000), "wait_event");
      if (event.kind == EventKind::kGrantEnded) ++grants;
      if (event.kind != EventKind::kGrantGroupEnded) continue;
      EXPECT_EQ(event.status.code(), bad_code);
      EXPECT_EQ(event.group, group_.id());
      break;
    }
    EXPECT_EQ(grants, kWriters);
  }

  // The writers of the others are told why; after that nothing of theirs lands any more.
  void expect_writers_told(bool bad_one_lives) {
    EXPECT_TRUE(transfers_[0].wait(10000).is_ok());
    for (const uint32_t i : {1u, 2u, 3u}) {
      if (i == kBad && !bad_one_lives) continue;
      words_[i].tick();
      const auto end = transfers_[i].wait(10000);
      EXPECT_FALSE(end.is_ok());
      if (i != kBad) {
        EXPECT_NE(end.code(), StatusCode::kInDoubt) << end.to_string();
      }
    }
    EXPECT_EQ(cluster_.decode(0).check_poisoned(), "");
    // Whatever might still be under way lands before a hand-off over the same Paths ends.
    auto request = cluster_.request(0, "again");
    if (!bad_one_lives) request.writers.erase(request.writers.begin() + kBad);
    request.allow_gaps = true;
    auto again = require(cluster_.decode(0).context().grant_group(request), "group");
    for (uint32_t i = 0; i < kWriters; ++i) {
      if (i == kBad && !bad_one_lives) continue;
      auto transfer = cluster_.push(i, "again");
      require_ok(transfer.seal(), "seal");
      EXPECT_TRUE(transfer.wait(10000).is_ok());
    }
    EXPECT_TRUE(again.wait(10000).is_ok()) << again.status().to_string();
    if (bad_one_lives) {
      EXPECT_EQ(cluster_.decode(0).check_model(cluster_.layouts().tokens), "");
    }
  }

  Cluster cluster_;
  baton::GrantGroup group_;
  std::vector<baton::Transfer> transfers_;
  std::vector<baton::ProgressWord> words_;
};

TEST_P(FanInFailure, AWriterCancels) {
  ASSERT_NO_FATAL_FAILURE(start());
  transfers_[kBad].cancel("preempted");
  expect_ends(StatusCode::kCancelled);
  EXPECT_NE(group_.status().message().find("writer 2 (peer"), std::string::npos)
      << group_.status().to_string();
  expect_writers_told(true);
}

TEST_P(FanInFailure, AWriterIsLost) {
  ASSERT_NO_FATAL_FAILURE(start());
  cluster_.decode(0).context().disconnect(cluster_.peer(0, kBad)).ignore();
  expect_ends(StatusCode::kPeerLost);
  expect_writers_told(false);
}

TEST_P(FanInFailure, TheDeadlinePasses) {
  ASSERT_NO_FATAL_FAILURE(start(700));
  for (const uint32_t i : {1u, 3u}) words_[i].tick();
  // Of these two nothing is missing: whether they end before the deadline or are cancelled by it,
  // the group has its status.
  EXPECT_EQ(group_.gate(1).wait(10000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(group_.all().wait(10000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(group_.wait(10000).code(), StatusCode::kDeadlineExceeded);
  cluster_.decode(0).poison();
  EXPECT_EQ(group_.state(), State::kFailed);
  EXPECT_EQ(group_.grant(kBad)->status().code(), StatusCode::kDeadlineExceeded);
  expect_events(StatusCode::kDeadlineExceeded);
  words_[kBad].tick();
  EXPECT_FALSE(transfers_[kBad].wait(10000).is_ok());
  EXPECT_EQ(cluster_.decode(0).check_poisoned(), "");
}

TEST_P(FanInFailure, TheReceiverCancels) {
  ASSERT_NO_FATAL_FAILURE(start());
  group_.cancel("aborted");
  expect_ends(StatusCode::kCancelled);
  EXPECT_NE(group_.status().message().find("aborted"), std::string::npos);
  expect_writers_told(true);
}

TEST_P(FanInFailure, AHandleThatGoesCancels) {
  ASSERT_NO_FATAL_FAILURE(start());
  const baton::Gate gate = group_.gate(1);
  const baton::Gate all = group_.all();
  group_ = baton::GrantGroup();
  EXPECT_EQ(gate.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_EQ(all.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_EQ(next_event(cluster_.decode(0).context(), EventKind::kGrantGroupEnded).status.code(),
            StatusCode::kCancelled);
}

TEST_P(FanInFailure, AContextThatClosesEndsTheGroup) {
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(cluster_.decode(0).context().close(0).code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(baton::is_terminal(group_.state()));
  EXPECT_FALSE(group_.status().is_ok());
  EXPECT_FALSE(group_.all().poll().is_ok());
  uint32_t groups = 0;
  baton::Event event;
  while (cluster_.decode(0).context().poll_events({&event, 1}) == 1)
    groups += event.kind == EventKind::kGrantGroupEnded ? 1 : 0;
  EXPECT_EQ(groups, 1u);
}

// At many moments, from two writers at once: one verdict, the same everywhere.
TEST_P(FanInFailure, TwoWritersCancelAtOnce) {
  for (int round = 0; round < 10; ++round) {
    const std::string tag = "t" + std::to_string(round);
    auto group =
        require(cluster_.decode(0).context().grant_group(cluster_.request(0, tag)), "group");
    std::vector<baton::Transfer> transfers;
    for (uint32_t i = 0; i < kWriters; ++i) transfers.push_back(cluster_.push(i, tag));
    transfers[1].cancel("one");
    transfers[kBad].cancel("two");
    EXPECT_EQ(group.wait(10000).code(), StatusCode::kCancelled);
    cluster_.decode(0).poison();
    EXPECT_EQ(group.all().poll(), group.status());
    for (auto& transfer : transfers) EXPECT_EQ(transfer.wait(10000).code(), StatusCode::kCancelled);
    EXPECT_EQ(cluster_.decode(0).check_poisoned(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, FanInFailure,
                         testing::Values(Transport{"tcp", "tcp"},
                                         Transport{"loopback_ordered", "loopback"},
                                         Transport{"loopback_unordered", "loopback", false}),
                         [](const auto& transport) { return std::string(transport.param.name); });

}  // namespace
}  // namespace baton_test
