#include "src/api/caller_fd.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <utility>

#include "src/base/clock.h"
#include "src/base/event_fd.h"

namespace baton::api {
namespace {

constexpr int64_t kHourNs = int64_t{3600} * 1'000'000'000;

bool is_readable(const CallerFd& caller, int timeout_ms = 0) {
  pollfd waiting{caller.fd(), POLLIN, 0};
  return ::poll(&waiting, 1, timeout_ms) == 1;
}

class CallerFdTest : public testing::Test {
 protected:
  CallerFdTest()
      : events_(base::EventFd::create().value()),
        data_(base::EventFd::create().value()),
        caller_(CallerFd::create(events_.fd(), data_.fd()).value()) {}

  int64_t now() { return base::monotonic_now_ns(); }

  base::EventFd events_;
  base::EventFd data_;
  CallerFd caller_;
};

TEST_F(CallerFdTest, IsReadableWhileEitherIs) {
  EXPECT_FALSE(is_readable(caller_));
  for (const base::EventFd* one : {&events_, &data_}) {
    one->signal();
    EXPECT_TRUE(is_readable(caller_));
    EXPECT_TRUE(is_readable(caller_)) << "until it is cleared";
    one->clear();
    EXPECT_FALSE(is_readable(caller_));
  }
}

TEST_F(CallerFdTest, IsReadableFromTheTimeOn) {
  caller_.wake_at(now() + kHourNs, now());
  EXPECT_FALSE(is_readable(caller_));
  caller_.wake_at(now() + 1'000'000, now());
  EXPECT_TRUE(is_readable(caller_, 20000));
  EXPECT_TRUE(is_readable(caller_)) << "until it is set anew";
  caller_.wake_at(INT64_MAX, now());
  EXPECT_FALSE(is_readable(caller_));
}

TEST_F(CallerFdTest, ATimeThatIsOverIsReadableAtOnce) {
  for (const int64_t past : {int64_t{0}, int64_t{1}, now()}) {
    caller_.wake_at(past, now());
    EXPECT_TRUE(is_readable(caller_, 20000)) << past;
    caller_.wake_at(INT64_MAX, now());
    EXPECT_FALSE(is_readable(caller_));
  }
}

TEST_F(CallerFdTest, ALaterTimeReplacesOneThatRanOut) {
  caller_.wake_at(1, now());
  ASSERT_TRUE(is_readable(caller_, 20000));
  caller_.wake_at(now() + kHourNs, now());
  EXPECT_FALSE(is_readable(caller_));
}

// One that is yet to come may wake early; it never wakes late.
TEST_F(CallerFdTest, ALaterTimeDoesNotDelayAnEarlierOne) {
  const int64_t soon = now() + 20'000'000;
  caller_.wake_at(soon, now());
  caller_.wake_at(soon + 1, soon - 1);
  caller_.wake_at(INT64_MAX, soon - 1);
  EXPECT_TRUE(is_readable(caller_, 20000));
  caller_.wake_at(INT64_MAX, soon);
  EXPECT_FALSE(is_readable(caller_));
}

TEST_F(CallerFdTest, WithoutDescriptorsItSaysSo) {
  // Read before: UBSan's look at an object needs a descriptor.
  const int events = events_.fd();
  const int data = data_.fd();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = CallerFd::create(events, data);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(refused.code(), StatusCode::kExhausted) << refused.status().to_string();
}

}  // namespace
}  // namespace baton::api
