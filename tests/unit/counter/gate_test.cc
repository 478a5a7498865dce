// GateState, and Gate as its public face.

#include "baton/gate.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "src/base/clock.h"
#include "src/counter/gate_state.h"

namespace baton::counter {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

int64_t soon() { return base::monotonic_now_ns() + 30 * kSecondNs; }

TEST(Gate, OpensAtTheLastSlot) {
  auto state = std::make_shared<GateState>(3, 5);
  const Gate gate(state);
  EXPECT_FALSE(state->slot_done(10));
  EXPECT_FALSE(state->slot_done(20));
  EXPECT_FALSE(gate.is_open());
  EXPECT_EQ(gate.poll().code(), StatusCode::kBusy);
  EXPECT_EQ(gate.opened_ns(), 0);
  EXPECT_EQ(state->remaining(), 1u);
  EXPECT_TRUE(state->slot_done(30));
  EXPECT_TRUE(gate.is_open());
  EXPECT_TRUE(gate.poll().is_ok());
  EXPECT_TRUE(gate.wait(0).is_ok());
  EXPECT_EQ(gate.opened_ns(), 30);
}

TEST(Gate, WithoutSlotsIsOpenFromTheStart) {
  const GateState state(0, 42);
  EXPECT_TRUE(state.is_open());
  EXPECT_TRUE(state.poll().is_ok());
  EXPECT_EQ(state.opened_ns(), 42);
}

TEST(Gate, OneThatArrivesIsASlotOfItsParent) {
  const auto parent = std::make_shared<GateState>(2, 0);
  GateState first(2, 0);
  GateState second(1, 0);
  first.set_parent(parent);
  second.set_parent(parent);
  EXPECT_EQ(Gate(parent).remaining(), 2u);
  first.slot_done(1);
  EXPECT_TRUE(second.slot_done(2));
  EXPECT_EQ(Gate(parent).remaining(), 1u);
  EXPECT_FALSE(parent->is_open());
  EXPECT_TRUE(first.slot_done(3));
  EXPECT_TRUE(parent->poll().is_ok());
  EXPECT_EQ(parent->opened_ns(), 3);
}

// Who fails it decides about the parent; a slot that arrives afterwards is not counted there.
TEST(Gate, OneThatFailsLeavesItsParentAlone) {
  const auto parent = std::make_shared<GateState>(1, 0);
  GateState child(1, 0);
  child.set_parent(parent);
  EXPECT_TRUE(child.fail(Status(StatusCode::kCancelled, "no"), 1));
  EXPECT_FALSE(child.slot_done(2));
  EXPECT_FALSE(parent->is_open());
  EXPECT_EQ(parent->remaining(), 1u);
}

TEST(Gate, AFailureOpensItAndLaterVerdictsAreDropped) {
  auto state = std::make_shared<GateState>(1, 0);
  const Gate gate(state);
  EXPECT_TRUE(state->fail(Status(StatusCode::kPeerLost, "peer 3 is gone"), 11));
  EXPECT_FALSE(state->fail(Status(StatusCode::kCancelled, "too late"), 12));
  EXPECT_FALSE(state->slot_done(13));
  EXPECT_EQ(gate.poll(), Status(StatusCode::kPeerLost, "peer 3 is gone"));
  EXPECT_EQ(gate.wait(0), Status(StatusCode::kPeerLost, "peer 3 is gone"));
  EXPECT_EQ(gate.opened_ns(), 11);
}

TEST(Gate, ASuccessIsNotTakenBack) {
  GateState state(1, 0);
  EXPECT_TRUE(state.slot_done(1));
  EXPECT_FALSE(state.fail(Status(StatusCode::kDeadlineExceeded, "too late"), 2));
  EXPECT_TRUE(state.poll().is_ok());
  EXPECT_EQ(state.opened_ns(), 1);
}

TEST(Gate, AWaitThatRunsOutLeavesItClosed) {
  auto state = std::make_shared<GateState>(2, 0);
  const Gate gate(state);
  (void)state->slot_done(1);
  const Status late = gate.wait(1);
  EXPECT_EQ(late.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(late.message(), "the gate is still closed, 1 of its slots have not arrived");
  EXPECT_FALSE(gate.is_open());
  (void)state->slot_done(2);
  EXPECT_TRUE(gate.wait(0).is_ok());
}

TEST(Gate, WakesEveryWaiter) {
  auto state = std::make_shared<GateState>(1, 0);
  std::vector<std::thread> waiters;
  std::atomic<int> failures{0};
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      const Status status = Gate(state).wait(30000);
      if (status.code() == StatusCode::kCancelled) failures.fetch_add(1);
    });
  }
  (void)state->fail(Status(StatusCode::kCancelled, "cancelled by the receiver"), 1);
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(failures.load(), 4);
}

// Gate invariant 2. The payload is plain memory, for the thread sanitizer. Odd rounds block, even
// rounds poll; an answer every few rounds keeps both threads close, so that waits begin before, at
// and after the opening.
TEST(Gate, ReadersSeeThePayloadOfAnOpenGate) {
  constexpr uint32_t kRounds = 100000;
  constexpr uint32_t kAnswerEvery = 8;
  std::deque<GateState> gates;
  std::deque<GateState> answers;
  for (uint32_t i = 0; i < kRounds; ++i) gates.emplace_back(1u, 0);
  for (uint32_t i = 0; i < kRounds / kAnswerEvery; ++i) answers.emplace_back(1u, 0);
  std::vector<uint32_t> payload(kRounds, 0);

  std::thread writer([&] {
    for (uint32_t i = 0; i < kRounds; ++i) {
      payload[i] = i + 1;
      ASSERT_TRUE(gates[i].slot_done(int64_t{i} + 1));
      if (i % kAnswerEvery == kAnswerEvery - 1) {
        ASSERT_TRUE(answers[i / kAnswerEvery].wait(soon()).is_ok());
      }
    }
  });
  for (uint32_t i = 0; i < kRounds; ++i) {
    if (i % 2 == 1) {
      ASSERT_TRUE(gates[i].wait(soon()).is_ok());
    } else {
      while (!gates[i].is_open()) std::this_thread::yield();
    }
    ASSERT_EQ(payload[i], i + 1);
    ASSERT_EQ(gates[i].opened_ns(), int64_t{i} + 1);
    if (i % kAnswerEvery == kAnswerEvery - 1) (void)answers[i / kAnswerEvery].slot_done(1);
  }
  writer.join();
}

// The data thread's last slot against the control thread's failure: one of them wins, and every
// reader sees the winner.
TEST(Gate, ExactlyOneOfSuccessAndFailureWins) {
  constexpr uint32_t kRounds = 20000;
  std::deque<GateState> gates;
  for (uint32_t i = 0; i < kRounds; ++i) gates.emplace_back(2u, 0);
  std::vector<uint8_t> arrived(kRounds, 0);
  std::vector<uint8_t> failed(kRounds, 0);
  std::atomic<uint32_t> control_at{0};
  std::atomic<uint32_t> data_at{0};
  // Both begin a round together, or the race would be decided by who was started first.
  const auto meet = [](std::atomic<uint32_t>& mine, std::atomic<uint32_t>& other, uint32_t round) {
    mine.store(round + 1);
    while (other.load() < round + 1) std::this_thread::yield();
  };
  std::thread control([&] {
    for (uint32_t i = 0; i < kRounds; ++i) {
      meet(control_at, data_at, i);
      failed[i] = gates[i].fail(Status(StatusCode::kPeerLost, "peer " + std::to_string(i)), 2);
    }
  });
  std::thread data([&] {
    for (uint32_t i = 0; i < kRounds; ++i) {
      meet(data_at, control_at, i);
      EXPECT_FALSE(gates[i].slot_done(1));
      arrived[i] = gates[i].slot_done(1);
    }
  });
  std::vector<Status> seen(kRounds);
  std::thread reader([&] {
    for (uint32_t i = 0; i < kRounds; ++i) seen[i] = gates[i].wait(soon());
  });
  control.join();
  data.join();
  reader.join();
  for (uint32_t i = 0; i < kRounds; ++i) {
    ASSERT_EQ(arrived[i] + failed[i], 1) << "round " << i;
    const Status expected =
        arrived[i] ? Status() : Status(StatusCode::kPeerLost, "peer " + std::to_string(i));
    ASSERT_EQ(seen[i], expected) << "round " << i;
    ASSERT_EQ(gates[i].poll(), expected);
    ASSERT_EQ(gates[i].opened_ns(), arrived[i] ? 1 : 2);
  }
}

// Fan-in: the last of several threads opens, and what each of them placed is visible behind the
// gate.
TEST(Gate, SlotsMayBeDoneByManyThreads) {
  constexpr uint32_t kThreads = 4;
  constexpr uint32_t kRounds = 2000;
  std::deque<GateState> gates;
  for (uint32_t i = 0; i < kRounds; ++i) gates.emplace_back(kThreads, 0);
  std::vector<uint32_t> payload(kRounds * kThreads, 0);
  std::atomic<uint32_t> opened{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < kRounds; ++i) {
        payload[i * kThreads + t] = i + t;
        if (gates[i].slot_done(1)) opened.fetch_add(1);
      }
    });
  }
  for (uint32_t i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(gates[i].wait(soon()).is_ok());
    for (uint32_t t = 0; t < kThreads; ++t) ASSERT_EQ(payload[i * kThreads + t], i + t);
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(opened.load(), kRounds);
}

using GateDeathTest = ::testing::Test;

TEST(GateDeathTest, MisuseAsserts) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  GateState state(1, 0);
  EXPECT_DEATH((void)state.fail(Status::ok(), 1), "not with OK");
  (void)state.slot_done(1);
  EXPECT_DEATH((void)state.slot_done(2), "more slots than it waits for");
  EXPECT_DEATH((void)Gate().is_open(), "not made by a Grant");
}

}  // namespace
}  // namespace baton::counter
