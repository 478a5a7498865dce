#include "src/base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <utility>

namespace baton::base {
namespace {

int open_null() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFdTest, ClosesOnceAtTheEnd) {
  const int fd = open_null();
  {
    const UniqueFd owner(fd);
    EXPECT_TRUE(owner.is_valid());
    EXPECT_EQ(owner.get(), fd);
    EXPECT_TRUE(is_open(fd));
  }
  EXPECT_FALSE(is_open(fd));
  EXPECT_FALSE(UniqueFd().is_valid());
}

TEST(UniqueFdTest, MovesAndReleases) {
  UniqueFd first(open_null());
  const int fd = first.get();
  UniqueFd second(std::move(first));
  EXPECT_EQ(second.get(), fd);
  UniqueFd third(open_null());
  const int replaced = third.get();
  third = std::move(second);
  EXPECT_FALSE(is_open(replaced));
  EXPECT_EQ(third.release(), fd);
  EXPECT_TRUE(is_open(fd));
  third.reset(fd);
  third.reset();
  EXPECT_FALSE(is_open(fd));
}

TEST(UniqueFdTest, KeepsErrno) {
  UniqueFd owner(open_null());
  errno = ENOENT;
  owner.reset();
  EXPECT_EQ(errno, ENOENT);
}

TEST(UniqueFdDeathTest, ASecondOwnerIsFound) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const int fd = open_null();
        UniqueFd first(fd);
        UniqueFd second(fd);
        first.reset();
        second.reset();
      },
      "closed once");
}

}  // namespace
}  // namespace baton::base
