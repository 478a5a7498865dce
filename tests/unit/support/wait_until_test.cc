#include "tests/support/wait_until.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace baton_test {
namespace {

TEST(WaitUntilTest, EndsWhenItIsTrueOrTheLimitPassed) {
  EXPECT_TRUE(wait_until([] { return true; }, std::chrono::milliseconds(0)));
  EXPECT_FALSE(wait_until([] { return false; }, std::chrono::milliseconds(5)));
  std::atomic<bool> done{false};
  std::thread other([&] { done = true; });
  EXPECT_TRUE(wait_until([&] { return done.load(); }));
  other.join();
}

}  // namespace
}  // namespace baton_test
