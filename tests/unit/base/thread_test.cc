#include "src/base/thread.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <csignal>
#include <string>
#include <utility>

namespace baton::base {
namespace {

TEST(ThreadTest, RunsItsBodyUnderItsName) {
  std::string name(16, '\0');
  auto thread = Thread::start({.name = "baton-control-thread", .cpus = {}},
                              [&] { ::pthread_getname_np(::pthread_self(), name.data(), 16); });
  ASSERT_TRUE(thread.is_ok()) << thread.status().to_string();
  EXPECT_TRUE(thread->is_running());
  thread->join();
  EXPECT_FALSE(thread->is_running());
  thread->join();
  EXPECT_STREQ(name.c_str(), "baton-control-t");
}

TEST(ThreadTest, BlocksEverySignalAndLeavesTheCallersMask) {
  sigset_t before;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &before), 0);
  sigset_t inside;
  auto thread = Thread::start({.name = "t", .cpus = {}},
                              [&] { ::pthread_sigmask(SIG_SETMASK, nullptr, &inside); });
  ASSERT_TRUE(thread.is_ok());
  thread->join();
  sigset_t after;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD, SIGUSR1, SIGPIPE, SIGALRM}) {
    EXPECT_EQ(::sigismember(&inside, signal), 1) << signal;
    EXPECT_EQ(::sigismember(&before, signal), ::sigismember(&after, signal)) << signal;
  }
}

TEST(ThreadTest, KeepsToItsCpus) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  int cpu = 0;
  while (!CPU_ISSET(static_cast<size_t>(cpu), &allowed)) ++cpu;
  cpu_set_t inside;
  auto thread = Thread::start({.name = "t", .cpus = {cpu}},
                              [&] { ::sched_getaffinity(0, sizeof(inside), &inside); });
  ASSERT_TRUE(thread.is_ok()) << thread.status().to_string();
  thread->join();
  EXPECT_EQ(CPU_COUNT(&inside), 1);
  EXPECT_TRUE(CPU_ISSET(static_cast<size_t>(cpu), &inside));
}

TEST(ThreadTest, SaysWhichCpuIsWrong) {
  const auto nothing = [] {};
  for (const int cpu : {-1, CPU_SETSIZE}) {
    auto thread = Thread::start({.name = "data", .cpus = {cpu}}, nothing);
    ASSERT_EQ(thread.code(), StatusCode::kInvalidArgument);
    EXPECT_NE(thread.status().message().find("CPU " + std::to_string(cpu)), std::string::npos);
  }
  auto absent = Thread::start({.name = "data", .cpus = {CPU_SETSIZE - 1}}, nothing);
  ASSERT_EQ(absent.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(absent.status().message().find("1023"), std::string::npos) << absent.status().message();
}

TEST(ThreadTest, DestructorAndAssignmentJoin) {
  std::atomic<int> ended{0};
  const auto body = [&ended] { ended.fetch_add(1); };
  {
    auto first = Thread::start({.name = "first", .cpus = {}}, body);
    auto second = Thread::start({.name = "second", .cpus = {}}, body);
    ASSERT_TRUE(first.is_ok() && second.is_ok());
    Thread held = std::move(first).value();
    held = std::move(second).value();
    EXPECT_GE(ended.load(), 1);
  }
  EXPECT_EQ(ended.load(), 2);
}

}  // namespace
}  // namespace baton::base
