#include "src/handoff/lifecycle.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <string>
#include <thread>
#include <vector>

#include "src/base/clock.h"

namespace baton::handoff {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

Status cause(StatusCode code = StatusCode::kCancelled, std::string text = "stop") {
  return Status(code, std::move(text));
}

TEST(Lifecycle, BeginsActive) {
  Lifecycle life;
  EXPECT_EQ(life.state(), State::kActive);
  EXPECT_TRUE(life.is_active());
  EXPECT_FALSE(life.is_terminal());
  EXPECT_TRUE(life.status().is_ok());
  EXPECT_EQ(life.ended_ns(), 0);
}

TEST(Lifecycle, CompletesOnce) {
  Lifecycle life;
  EXPECT_TRUE(life.complete(7));
  EXPECT_EQ(life.state(), State::kDone);
  EXPECT_EQ(life.ended_ns(), 7);
  EXPECT_TRUE(life.status().is_ok());
  EXPECT_FALSE(life.begin_cancel(cause()));
  EXPECT_EQ(life.state(), State::kDone);
  EXPECT_TRUE(life.status().is_ok());
}

TEST(Lifecycle, BetweenTheStepsOfACompletionNoCancelWinsAndNobodySeesIt) {
  Lifecycle life;
  ASSERT_TRUE(life.begin_complete());
  EXPECT_EQ(life.state(), State::kActive);
  EXPECT_FALSE(life.begin_cancel(cause()));
  EXPECT_FALSE(life.begin_complete());
  EXPECT_FALSE(life.complete(1));
  EXPECT_EQ(life.ended_ns(), 0);
  EXPECT_FALSE(life.wait_terminal(base::monotonic_now_ns() - 1));
  life.end_complete(7);
  EXPECT_EQ(life.state(), State::kDone);
  EXPECT_EQ(life.ended_ns(), 7);
  EXPECT_TRUE(life.status().is_ok());
}

TEST(Lifecycle, ACancelledOneNeverCompletes) {
  Lifecycle life;
  EXPECT_TRUE(life.begin_cancel(cause(StatusCode::kDeadlineExceeded, "late")));
  EXPECT_EQ(life.state(), State::kCancelling);
  EXPECT_FALSE(life.is_terminal());
  EXPECT_EQ(life.status(), cause(StatusCode::kDeadlineExceeded, "late"));
  EXPECT_FALSE(life.complete(1));
  EXPECT_EQ(life.ended_ns(), 0) << "it has not ended";
  EXPECT_FALSE(life.begin_cancel(cause(StatusCode::kPeerLost, "dead")));
  EXPECT_EQ(life.status(), cause(StatusCode::kDeadlineExceeded, "late")) << "failure is sticky";
}

TEST(Lifecycle, TheOutcomeDecidesTheState) {
  const auto end_of = [](Status outcome) {
    Lifecycle life;
    EXPECT_TRUE(life.begin_cancel(cause()));
    life.finish(outcome, 9);
    EXPECT_TRUE(life.is_terminal());
    EXPECT_EQ(life.status(), outcome);
    EXPECT_EQ(life.ended_ns(), 9);
    return life.state();
  };
  EXPECT_EQ(end_of(Status::ok()), State::kDone) << "a writer adopts the receiver's verdict";
  EXPECT_EQ(end_of(cause()), State::kCancelled);
  EXPECT_EQ(end_of(cause(StatusCode::kPeerLost)), State::kFailed);
  EXPECT_EQ(end_of(cause(StatusCode::kInDoubt)), State::kFailed);
}

TEST(Lifecycle, FinishNeedsNoCancelBefore) {
  Lifecycle life;
  life.finish(cause(StatusCode::kPathLost), 3);
  EXPECT_EQ(life.state(), State::kFailed);
  EXPECT_FALSE(life.begin_cancel(cause()));
  EXPECT_FALSE(life.complete(4));
  EXPECT_EQ(life.status().code(), StatusCode::kPathLost);
}

TEST(Lifecycle, WaitsUntilTerminalAndNotUntilCancelling) {
  Lifecycle life;
  EXPECT_FALSE(life.wait_terminal(base::monotonic_now_ns() - 1));
  std::atomic<bool> woke{false};
  std::thread waiter([&] {
    EXPECT_TRUE(life.wait_terminal(base::monotonic_now_ns() + 60 * kSecondNs));
    woke.store(true);
  });
  EXPECT_TRUE(life.begin_cancel(cause()));
  EXPECT_FALSE(woke.load()) << "CANCELLING is no end";
  life.finish(cause(), 1);
  waiter.join();
  EXPECT_TRUE(woke.load());
  EXPECT_TRUE(life.wait_terminal(0)) << "an ended one is not waited for";
}

// Cancels from several threads, a completion and a finish at the same moment: one of them decides.
TEST(Lifecycle, ExactlyOneAttemptWins) {
  constexpr int kCancellers = 3;
  constexpr int kRounds = 3000;
  int completed_rounds = 0;
  std::vector<Lifecycle> lives(kRounds);
  std::vector<std::atomic<int>> wins(kRounds);
  std::vector<std::atomic<int>> winners(kRounds);
  std::barrier start(kCancellers + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < kCancellers; ++i) {
    threads.emplace_back([&, i] {
      for (size_t round = 0; round < kRounds; ++round) {
        start.arrive_and_wait();
        if (lives[round].begin_cancel(cause(StatusCode::kPeerLost, std::to_string(i)))) {
          ++wins[round];
          winners[round] = i;
        }
      }
    });
  }
  for (size_t round = 0; round < kRounds; ++round) {
    Lifecycle& life = lives[round];
    start.arrive_and_wait();
    if (life.complete(1)) {
      ++completed_rounds;
      ++wins[round];
      winners[round] = -1;
    }
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t round = 0; round < kRounds; ++round) {
    ASSERT_EQ(wins[round], 1) << "round " << round;
    const int winner = winners[round];
    if (winner < 0) {
      EXPECT_EQ(lives[round].state(), State::kDone);
      EXPECT_TRUE(lives[round].status().is_ok());
    } else {
      EXPECT_EQ(lives[round].state(), State::kCancelling);
      EXPECT_EQ(lives[round].status().message(), std::to_string(winner));
    }
  }
  std::printf("%d of %d rounds completed\n", completed_rounds, kRounds);
}

// finish() has the last word over a cancel of the same moment, and readers see whole values only.
TEST(Lifecycle, FinishIsFinalWhateverComesInBetween) {
  constexpr int kRounds = 3000;
  std::vector<Lifecycle> lives(kRounds);
  std::barrier start(3);
  std::thread canceller([&] {
    for (Lifecycle& life : lives) {
      start.arrive_and_wait();
      static_cast<void>(life.begin_cancel(cause(StatusCode::kCancelled, "mine")));
    }
  });
  std::thread reader([&] {
    for (const Lifecycle& life : lives) {
      start.arrive_and_wait();
      const Status seen = life.status();
      EXPECT_TRUE(seen.is_ok() || seen == cause(StatusCode::kCancelled, "mine") ||
                  seen == cause(StatusCode::kInDoubt, "verdict"))
          << seen.to_string();
    }
  });
  for (Lifecycle& life : lives) {
    start.arrive_and_wait();
    life.finish(cause(StatusCode::kInDoubt, "verdict"), 5);
  }
  canceller.join();
  reader.join();
  for (const Lifecycle& life : lives) {
    EXPECT_EQ(life.state(), State::kFailed);
    EXPECT_EQ(life.status(), cause(StatusCode::kInDoubt, "verdict"));
    EXPECT_EQ(life.ended_ns(), 5);
  }
}

TEST(LifecycleDeath, EndsOnce) {
  Lifecycle life;
  EXPECT_TRUE(life.complete(1));
  EXPECT_DEATH(life.finish(cause(), 2), "ends once");
}

TEST(LifecycleDeath, ACompletionIsBegunFirst) {
  Lifecycle life;
  EXPECT_DEATH(life.end_complete(1), "begun");
}

TEST(LifecycleDeath, ACancelHasACause) {
  Lifecycle life;
  EXPECT_DEATH(static_cast<void>(life.begin_cancel(Status::ok())), "cause");
}

TEST(State, HasNames) {
  EXPECT_EQ(state_name(State::kActive), "ACTIVE");
  EXPECT_EQ(state_name(State::kCancelling), "CANCELLING");
  EXPECT_EQ(state_name(State::kDone), "DONE");
  EXPECT_EQ(state_name(State::kFailed), "FAILED");
  EXPECT_EQ(state_name(State::kCancelled), "CANCELLED");
  EXPECT_FALSE(is_terminal(State::kActive));
  EXPECT_FALSE(is_terminal(State::kCancelling));
  EXPECT_TRUE(is_terminal(State::kDone));
  EXPECT_TRUE(is_terminal(State::kFailed));
  EXPECT_TRUE(is_terminal(State::kCancelled));
}

}  // namespace
}  // namespace baton::handoff
