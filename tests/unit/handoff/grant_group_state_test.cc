#include "src/handoff/grant_group_state.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <utility>
#include <vector>

#include "src/handoff/grant_state.h"

namespace baton::handoff {
namespace {

// Three writers, two layers; the second sends nothing of layer 1.
constexpr uint32_t kWriters = 3;
constexpr uint32_t kLayers = 2;

class GrantGroupStateTest : public testing::Test {
 protected:
  GrantGroupStateTest() { reset(); }

  void reset() {
    cancelled_.clear();
    grants_.clear();
    std::vector<GrantGroupState::Member> members;
    for (uint32_t i = 0; i < kWriters; ++i) {
      auto grant = std::make_shared<GrantState>();
      grant->id = GrantId(100 + i);
      grant->peer = PeerId(10 + i);
      grant->num_layers = kLayers;
      grant->layers = std::make_unique<GrantState::Layer[]>(kLayers);
      grant->all = std::make_shared<counter::GateState>(1, 0);
      for (uint32_t layer = 0; layer < kLayers; ++layer) {
        grant->layers[layer].units = i == 1 && layer == 1 ? 0 : 5;
        grant->layers[layer].gate =
            std::make_shared<counter::GateState>(grant->layers[layer].units > 0 ? 1 : 0, 0);
      }
      grants_.push_back(grant);
      members.push_back({grant, i * 2});
    }
    group_ = GrantGroupState::create(
        GrantGroupId(7), "req", members,
        [this](const std::shared_ptr<GrantState>& grant, Status why) {
          if (grant->begin_cancel(why, 50)) cancelled_.emplace_back(grant, why);
        },
        1);
  }
  // As the engine ends one whose units all came.
  void complete(uint32_t i, int64_t now_ns) {
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      if (grants_[i]->layers[layer].units > 0) grants_[i]->layer_arrived(layer, now_ns);
    }
    ASSERT_TRUE(grants_[i]->life.complete(now_ns));
    grants_[i]->all->slot_done(now_ns);
  }
  void finish_cancelled(uint32_t i) { grants_[i]->life.finish(grants_[i]->life.status(), 90); }

  std::vector<std::shared_ptr<GrantState>> grants_;
  std::shared_ptr<GrantGroupState> group_;
  std::vector<std::pair<std::shared_ptr<GrantState>, Status>> cancelled_;
};

TEST_F(GrantGroupStateTest, ALayersGateCountsTheWritersThatSendSomeOfIt) {
  EXPECT_EQ(group_->layers[0]->remaining(), 3u);
  EXPECT_EQ(group_->layers[1]->remaining(), 2u);
  grants_[0]->layer_arrived(1, 5);
  EXPECT_EQ(group_->layers[1]->remaining(), 1u);
  grants_[2]->layer_arrived(1, 6);
  EXPECT_TRUE(group_->layers[1]->poll().is_ok());
  EXPECT_EQ(group_->layers[1]->opened_ns(), 6);
  EXPECT_FALSE(group_->layers[0]->is_open());
}

TEST_F(GrantGroupStateTest, IsDoneWhenTheLastHasEnded) {
  for (uint32_t i = 0; i < kWriters; ++i) complete(i, 20 + i);
  EXPECT_TRUE(group_->all->poll().is_ok());
  EXPECT_EQ(group_->life.state(), State::kActive) << "nothing was given back yet";
  EXPECT_FALSE(group_->member_ended(*grants_[2], 30));
  EXPECT_FALSE(group_->member_ended(*grants_[0], 31));
  EXPECT_TRUE(group_->member_ended(*grants_[1], 32));
  EXPECT_EQ(group_->life.state(), State::kDone);
  EXPECT_TRUE(group_->life.status().is_ok());
  EXPECT_EQ(group_->life.ended_ns(), 32);
}

TEST_F(GrantGroupStateTest, TheFirstFailureOpensEveryGateAndCancelsTheOthers) {
  for (const auto& grant : grants_) grant->layer_arrived(0, 5);
  grants_[0]->layer_arrived(1, 6);
  EXPECT_TRUE(grants_[2]->begin_cancel(Status(StatusCode::kPeerLost, "gone"), 40));
  const Status cause(StatusCode::kPeerLost, "writer 4 (peer 12): gone");
  EXPECT_TRUE(group_->layers[0]->poll().is_ok()) << "what had arrived stays so";
  EXPECT_EQ(group_->layers[1]->poll(), cause);
  EXPECT_EQ(group_->layers[1]->opened_ns(), 40);
  EXPECT_EQ(group_->all->poll(), cause);
  EXPECT_EQ(group_->life.state(), State::kCancelling);
  EXPECT_EQ(group_->life.status(), cause);
  ASSERT_EQ(cancelled_.size(), 2u);
  const Status told(StatusCode::kCancelled,
                    "grant group 7 (tag \"req\") failed: PEER_LOST: writer 4 (peer 12): gone");
  EXPECT_EQ(cancelled_[0], std::make_pair(grants_[0], told));
  EXPECT_EQ(cancelled_[1], std::make_pair(grants_[1], told));
  EXPECT_EQ(grants_[1]->all->poll(), told);

  for (const uint32_t i : {2u, 0u, 1u}) {
    finish_cancelled(i);
    EXPECT_EQ(group_->member_ended(*grants_[i], 91), i == 1);
  }
  EXPECT_EQ(group_->life.state(), State::kFailed);
  EXPECT_EQ(group_->life.status(), cause);
}

TEST_F(GrantGroupStateTest, OneThatWasCompleteByThenStaysSo) {
  complete(1, 5);
  EXPECT_FALSE(group_->member_ended(*grants_[1], 6));
  EXPECT_TRUE(grants_[0]->begin_cancel(Status(StatusCode::kCancelled, "no more"), 40));
  ASSERT_EQ(cancelled_.size(), 1u);
  EXPECT_EQ(cancelled_[0].first, grants_[2]);
  EXPECT_EQ(grants_[1]->life.state(), State::kDone);
  finish_cancelled(2);
  EXPECT_FALSE(group_->member_ended(*grants_[2], 90));
  finish_cancelled(0);
  EXPECT_TRUE(group_->member_ended(*grants_[0], 91));
  EXPECT_EQ(group_->life.state(), State::kCancelled);
}

// The engine ended a Grant while the thread that failed it is still on its way to the group.
TEST_F(GrantGroupStateTest, AnEndTellsTheGroupWhatTheFailureHasNotYet) {
  EXPECT_TRUE(grants_[0]->life.begin_cancel(Status(StatusCode::kDeadlineExceeded, "late")));
  finish_cancelled(0);
  EXPECT_FALSE(group_->member_ended(*grants_[0], 60));
  EXPECT_EQ(group_->all->poll().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(cancelled_.size(), 2u);
}

TEST_F(GrantGroupStateTest, OfManyFailuresAtOnceOneDecides) {
  for (int round = 0; round < 300; ++round) {
    reset();
    // The cancels of siblings come from several threads here.
    std::atomic<int> won{0};
    std::barrier start(kWriters);
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kWriters; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        won += grants_[i]->life.begin_cancel(Status(StatusCode::kPeerLost, "gone"));
        grants_[i]->fail_gates(Status(StatusCode::kPeerLost, "gone"), 40);
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(static_cast<size_t>(won) + cancelled_.size(), kWriters);
    EXPECT_EQ(group_->all->poll().code(), StatusCode::kPeerLost);
    EXPECT_EQ(group_->all->poll(), group_->life.status());
    for (uint32_t i = 0; i < kWriters; ++i) {
      finish_cancelled(i);
      EXPECT_EQ(group_->member_ended(*grants_[i], 91), i + 1 == kWriters);
    }
    EXPECT_EQ(group_->life.status(), group_->all->poll());
  }
}

TEST_F(GrantGroupStateTest, GrantsAndGroupDoNotKeepEachOtherAlive) {
  const std::weak_ptr<GrantState> grant = grants_[0];
  const std::weak_ptr<GrantGroupState> group = group_;
  grants_.clear();
  EXPECT_TRUE(grant.expired());
  group_.reset();
  EXPECT_TRUE(group.expired());
}

}  // namespace
}  // namespace baton::handoff
