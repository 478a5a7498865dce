#include "src/base/event_fd.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <thread>

namespace baton::base {
namespace {

bool is_readable(const EventFd& event, int timeout_ms = 0) {
  pollfd readable{event.fd(), POLLIN, 0};
  return ::poll(&readable, 1, timeout_ms) == 1;
}

TEST(EventFdTest, SignalsAreOneUntilCleared) {
  auto event = EventFd::create();
  ASSERT_TRUE(event.is_ok()) << event.status().to_string();
  EXPECT_FALSE(is_readable(*event));
  EXPECT_FALSE(event->clear());
  event->signal();
  event->signal();
  EXPECT_TRUE(is_readable(*event));
  EXPECT_TRUE(event->clear());
  EXPECT_FALSE(is_readable(*event));
  EXPECT_FALSE(event->clear());
}

TEST(EventFdTest, WakesAThreadThatPolls) {
  auto event = EventFd::create();
  ASSERT_TRUE(event.is_ok());
  int written = 0;
  std::thread waker([&] {
    written = 42;
    event->signal();
  });
  EXPECT_TRUE(is_readable(*event, 20000));
  EXPECT_TRUE(event->clear());
  waker.join();
  EXPECT_EQ(written, 42);
}

TEST(EventFdTest, SaysWhenDescriptorsRanOut) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  auto event = EventFd::create();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(event.code(), StatusCode::kExhausted);
  EXPECT_NE(event.status().message().find("eventfd"), std::string::npos);
}

}  // namespace
}  // namespace baton::base
