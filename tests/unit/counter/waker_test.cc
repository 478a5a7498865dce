#include "src/counter/waker.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

namespace baton::counter {
namespace {

bool is_readable(const Waker& waker, int timeout_ms) {
  pollfd entry{waker.fd(), POLLIN, 0};
  return ::poll(&entry, 1, timeout_ms) == 1;
}

std::shared_ptr<Waker> make_waker() {
  auto waker = Waker::create();
  EXPECT_TRUE(waker.is_ok()) << waker.status().to_string();
  return std::move(waker).value();
}

TEST(Waker, CostsNoSystemCallWhileTheSleeperIsAwake) {
  auto waker = make_waker();
  waker->wake();
  EXPECT_FALSE(is_readable(*waker, 0));
  // Expect: a sleep that begins after it is not cut short by it.
  waker->prepare_sleep();
  EXPECT_FALSE(is_readable(*waker, 0));
  waker->finish_sleep();
  waker->wake();
  EXPECT_FALSE(is_readable(*waker, 0));
}

TEST(Waker, MakesTheDescriptorReadableDuringASleep) {
  auto waker = make_waker();
  waker->prepare_sleep();
  waker->wake();
  waker->wake();
  EXPECT_TRUE(is_readable(*waker, 0));
  waker->finish_sleep();
  EXPECT_FALSE(is_readable(*waker, 0));
  // Expect: the next sleep starts afresh.
  waker->prepare_sleep();
  EXPECT_FALSE(is_readable(*waker, 0));
  waker->wake();
  EXPECT_TRUE(is_readable(*waker, 0));
  waker->finish_sleep();
}

// Two producers publish with relaxed stores, so the Waker alone orders. A wake-up that gets lost
// leaves the sleeper in poll() with work outstanding, and nobody else to wake it: both producers
// wait for what they published to be consumed.
TEST(Waker, LosesNoWakeUp) {
  constexpr uint64_t kEach = 20000;
  constexpr int kGiveUpMs = 20000;
  auto waker = make_waker();
  std::atomic<uint64_t> published[2] = {};
  std::atomic<uint64_t> consumed[2] = {};
  std::atomic<bool> lost{false};

  std::thread sleeper([&] {
    const auto take = [&] {
      bool any = false;
      for (int p = 0; p < 2; ++p) {
        const uint64_t there = published[p].load(std::memory_order_relaxed);
        any = any || there != consumed[p].load(std::memory_order_relaxed);
        consumed[p].store(there, std::memory_order_relaxed);
      }
      return any;
    };
    const auto is_done = [&] {
      return consumed[0].load(std::memory_order_relaxed) == kEach &&
             consumed[1].load(std::memory_order_relaxed) == kEach;
    };
    while (!is_done()) {
      if (take()) continue;
      waker->prepare_sleep();
      if (!take() && !is_readable(*waker, kGiveUpMs)) {
        lost.store(true);
        return;
      }
      waker->finish_sleep();
    }
  });
  std::thread producers[2];
  for (int p = 0; p < 2; ++p) {
    producers[p] = std::thread([&, p] {
      for (uint64_t i = 1; i <= kEach; ++i) {
        published[p].store(i, std::memory_order_relaxed);
        waker->wake();
        while (consumed[p].load(std::memory_order_relaxed) < i && !lost.load()) {
          std::this_thread::yield();
        }
      }
    });
  }
  for (auto& producer : producers) producer.join();
  sleeper.join();
  EXPECT_FALSE(lost.load());
}

// What was written before wake() is visible after prepare_sleep() or finish_sleep(), whichever came
// second, without help from the work's own atomics: the flag is relaxed, the payload plain memory,
// for the thread sanitizer.
TEST(Waker, OrdersWhatWasPublishedBeforeAnEarlyWakeUp) {
  auto waker = make_waker();
  for (int round = 1; round <= 200; ++round) {
    int payload = 0;
    std::atomic<bool> is_woken{false};
    std::thread producer([&] {
      payload = round;
      waker->wake();
      is_woken.store(true, std::memory_order_relaxed);
    });
    while (!is_woken.load(std::memory_order_relaxed)) std::this_thread::yield();
    waker->prepare_sleep();
    EXPECT_EQ(payload, round);
    waker->finish_sleep();
    producer.join();
  }
}

TEST(Waker, OrdersWhatWasPublishedBeforeAWakeUpDuringTheSleep) {
  auto waker = make_waker();
  for (int round = 1; round <= 200; ++round) {
    int payload = 0;
    waker->prepare_sleep();
    std::thread producer([&] {
      payload = round;
      waker->wake();
    });
    EXPECT_TRUE(is_readable(*waker, 20000));
    waker->finish_sleep();
    EXPECT_EQ(payload, round);
    producer.join();
  }
}

}  // namespace
}  // namespace baton::counter
