#include "src/base/owner_thread.h"

#include <gtest/gtest.h>

#include <thread>

namespace baton::base {
namespace {

TEST(OwnerThreadTest, OnlyTheOwnerPassesOnceBound) {
  OwnerThread owner;
  bool other_passes = false;
  const auto ask = [&] { other_passes = owner.passes(); };

  std::thread(ask).join();
  EXPECT_TRUE(other_passes);

  owner.bind();
  owner.bind();
  owner.assert_owner();
  std::thread(ask).join();
  EXPECT_FALSE(other_passes);

  owner.unbind();
  std::thread([&] { owner.bind(); }).join();
  EXPECT_FALSE(owner.passes());
}

TEST(OwnerThreadDeathTest, AForeignThreadAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  OwnerThread owner;
  owner.bind();
  EXPECT_DEATH(std::thread([&] { owner.assert_owner(); }).join(), "owning thread");
  EXPECT_DEATH(std::thread([&] { owner.bind(); }).join(), "unbinds before");
}

}  // namespace
}  // namespace baton::base
