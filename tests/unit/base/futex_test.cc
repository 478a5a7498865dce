#include "src/base/futex.h"

#include <gtest/gtest.h>

#include <thread>

#include "src/base/clock.h"

namespace baton::base {
namespace {

constexpr int64_t kMillisecondNs = 1'000'000;

TEST(FutexTest, ReturnsAtOnceWhenTheWordDiffers) {
  const std::atomic<uint32_t> word{7};
  EXPECT_TRUE(futex_wait_until(word, 6, kNoDeadlineNs));
}

TEST(FutexTest, ReturnsFalseOnceTheDeadlinePassed) {
  const std::atomic<uint32_t> word{7};
  EXPECT_FALSE(futex_wait_until(word, 7, 0));
  EXPECT_FALSE(futex_wait_until(word, 7, -1));
  const int64_t deadline_ns = monotonic_now_ns() + 5 * kMillisecondNs;
  while (futex_wait_until(word, 7, deadline_ns)) {
  }
  EXPECT_GE(monotonic_now_ns(), deadline_ns);
}

TEST(FutexTest, AllWaitersWake) {
  std::atomic<uint32_t> word{0};
  int written = 0;
  const auto wait = [&] {
    while (word.load(std::memory_order_acquire) == 0) {
      ASSERT_TRUE(futex_wait_until(word, 0, monotonic_now_ns() + 20000 * kMillisecondNs));
    }
    EXPECT_EQ(written, 42);
  };
  std::thread first(wait);
  std::thread second(wait);
  written = 42;
  word.store(1, std::memory_order_release);
  futex_wake_all(word);
  first.join();
  second.join();
}

}  // namespace
}  // namespace baton::base
