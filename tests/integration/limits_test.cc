// A process that runs out of descriptors when it connects, accepts, or opens a data socket; that
// has no address space or no mappings left; and child processes beside a live Context: they inherit
// nothing, and hand-offs go on (docs/threading.md, "fork, exec, signals").
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "tests/integration/limits_rig.h"
#include "tests/integration/process_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/test_main.h"
#include "tests/support/wait_until.h"

extern char** environ;

namespace baton_test {
namespace {

using baton::StatusCode;

// ---- descriptors

// The parent receives from the limited child.
class Descriptors : public testing::Test {
 protected:
  Descriptors()
      : child_(ChildProcess::self({"--role=limited", "limited"})),
        context_(require(baton::Context::create(process_options("parent")), "create")),
        target_(big_shape()) {
    target_.publish(context_, "kv");
    address_ = child_.read_line_after("ADDRESS ").value_or("");
  }

  void SetUp() override {
#ifdef BATON_TEST_UBSAN
    GTEST_SKIP()
        << "UndefinedBehaviorSanitizer opens a pipe to look at an object's type, and takes "
           "it for a wrong one where no descriptor is left";
#endif
  }

  std::string ask(const std::string& command, const std::string& answer) {
    EXPECT_TRUE(child_.write_line(command));
    return child_.read_line_after(answer, std::chrono::seconds(40)).value_or("nothing");
  }

  // Both know each other as one peer, and a hand-off is right.
  void expect_hand_off() {
    ASSERT_TRUE(wait_until([&] { return context_.peers().size() == 1; }));
    target_.memory().poison();
    auto grant = require(
        context_.grant(grant_request(context_.peers().front(), target_.cache(), 30000)), "grant");
    EXPECT_EQ(ask("push", "ENDED "), "DONE");
    EXPECT_TRUE(grant.wait(20000).is_ok()) << grant.status().to_string();
    EXPECT_EQ(compare_bytes(big_expected(), target_.memory().bytes()), "");
  }

  ChildProcess child_;
  baton::Context context_;
  Pool target_;
  std::string address_;
};

TEST_F(Descriptors, NoneLeftAtConnectIsExhausted) {
  ask("leave 0", "LEFT");
  const std::string refused = ask("connect " + context_.address(), "DIALED ");
  EXPECT_EQ(refused.rfind("EXHAUSTED", 0), 0u) << refused;
  EXPECT_NE(refused.find("Too many open files"), std::string::npos) << refused;
  ask("release", "RELEASED");
  EXPECT_EQ(ask("connect " + context_.address(), "DIALED "), "OK");
  expect_hand_off();
}

TEST_F(Descriptors, OneLeftAtConnectIsNotEnoughForTheDataSocket) {
  ask("leave 1", "LEFT");
  const std::string refused = ask("connect " + context_.address(), "DIALED ");
  EXPECT_EQ(refused.rfind("EXHAUSTED", 0), 0u) << refused;
  ask("release", "RELEASED");
  EXPECT_TRUE(wait_until([&] { return context_.peers().empty(); }));
  EXPECT_EQ(ask("connect " + context_.address(), "DIALED "), "OK");
  expect_hand_off();
}

TEST_F(Descriptors, NoneLeftAtAcceptKeepsDialersWaitingAndTheThreadAtRest) {
  ask("leave 0", "LEFT");
  const int64_t before = std::stoll(ask("cpu", "CPU "));
  EXPECT_EQ(context_.connect(address_, 1000).code(), StatusCode::kDeadlineExceeded);
  EXPECT_LT(std::stoll(ask("cpu", "CPU ")) - before, 500) << "ms of CPU in a second of waiting";
  ask("release", "RELEASED");
  EXPECT_TRUE(context_.connect(address_, 20000).is_ok());
  expect_hand_off();
}

TEST_F(Descriptors, OneLeftAtAcceptIsNotEnoughForTheDataSocket) {
  ask("leave 1", "LEFT");
  const auto refused = context_.connect(address_, 1500);
  EXPECT_FALSE(refused.is_ok());
  ask("release", "RELEASED");
  EXPECT_TRUE(wait_until([&] { return context_.peers().empty(); }));
  EXPECT_TRUE(context_.connect(address_, 20000).is_ok());
  expect_hand_off();
}

// What is open stays usable: a hand-off needs no new descriptor.
TEST_F(Descriptors, NoneLeftDuringAHandOffIsNotNoticed) {
  require(context_.connect(address_, 20000), "connect");
  ask("leave 0", "LEFT");
  expect_hand_off();
}

// ---- memory

TEST(Memory, AContextThatFindsNoAddressSpaceIsAnErrorAndNoCrash) {
#ifdef BATON_TEST_SANITIZED
  GTEST_SKIP() << "sanitizers reserve terabytes of address space";
#endif
  auto child = ChildProcess::self({"--role=memory"});
  int refused = 0;
  std::string last;
  while (const auto line = child.read_line(std::chrono::seconds(60))) {
    last = *line;
    if (line->rfind("CODE ", 0) != 0) continue;
    ++refused;
    EXPECT_TRUE(line->rfind("CODE EXHAUSTED", 0) == 0 || line->rfind("CODE IO_ERROR", 0) == 0)
        << *line;
  }
  EXPECT_GT(refused, 0) << "a Context was made within a megabyte";
  EXPECT_EQ(last, "SAME");
  EXPECT_EQ(child.wait_exit().value_or(ChildProcess::Exit{}), ChildProcess::Exit{});
}

TEST(Memory, AHandOffGoesOnWhereNoMappingIsLeft) {
#ifdef BATON_TEST_SANITIZED
  GTEST_SKIP() << "sanitizers map memory of their own";
#endif
  auto child = ChildProcess::self({"--role=mappings"});
  const auto code = child.read_line_after("CODE ", std::chrono::seconds(60));
  ASSERT_TRUE(code.has_value());
  EXPECT_TRUE(code->rfind("EXHAUSTED", 0) == 0 || code->rfind("IO_ERROR", 0) == 0) << *code;
  EXPECT_EQ(child.read_line().value_or("?"), "SAME");
  EXPECT_EQ(child.wait_exit().value_or(ChildProcess::Exit{}), ChildProcess::Exit{});
}

// ---- children beside a live Context

class Children : public testing::Test {
 protected:
  Children() : pair_({}), source_(big_shape()), target_(big_shape()) {
    source_.memory().fill_pattern(kOriginal);
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    pair_.connect();
    expected_ = big_expected();
    grant_ = require(
        pair_.decode().grant(grant_request(pair_.prefill_peer(), target_.cache(), 60000)), "grant");
    word_ = require(pair_.prefill().create_progress_word(), "create_progress_word");
    transfer_ = start_push(pair_.prefill(), source_);
    require_ok(transfer_.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
    require_ok(word_.advance_to(8), "advance_to");
  }

  void expect_hand_off_goes_on() {
    require_ok(word_.advance_to(16), "advance_to");
    EXPECT_TRUE(grant_.wait(20000).is_ok()) << grant_.status().to_string();
    EXPECT_TRUE(transfer_.wait(20000).is_ok()) << transfer_.status().to_string();
    EXPECT_EQ(compare_bytes(expected_, target_.memory().bytes()), "");
  }

  static int wait_for(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
  }

  ContextPair pair_;
  Pool source_;
  Pool target_;
  std::vector<uint8_t> expected_;
  baton::Grant grant_;
  baton::ProgressWord word_;
  baton::Transfer transfer_;
};

// Its output on a descriptor that is its own by posix_spawn's means.
std::string spawn_descriptors_role() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "pipe2 failed";
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string name = "spawned";
  std::string role = "--role=descriptors";
  char* const arguments[] = {name.data(), role.data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text;
  char bytes[4096];
  for (ssize_t got; error == 0 && (got = ::read(ends[0], bytes, sizeof(bytes))) > 0;) {
    text.append(bytes, static_cast<size_t>(got));
  }
  ::close(ends[0]);
  if (error == 0) ::waitpid(pid, nullptr, 0);
  return text;
}

TEST_F(Children, SpawnedInheritNothing) {
  const std::string text = spawn_descriptors_role();
  EXPECT_EQ(text.find("socket:"), std::string::npos) << text;
  EXPECT_EQ(text.find("eventfd"), std::string::npos) << text;
  EXPECT_EQ(text.find("eventpoll"), std::string::npos) << text;
  EXPECT_EQ(text.find("timerfd"), std::string::npos) << text;
  EXPECT_EQ(text.rfind("0 1 2", 0), 0u) << text;
  expect_hand_off_goes_on();
}

TEST_F(Children, ForkedAndExecutedInheritNothing) {
  auto child = ChildProcess::self({"--role=descriptors"});
  const std::string text = child.read_line().value_or("nothing");
  EXPECT_EQ(text.find("socket:["), std::string::npos) << text;
  EXPECT_EQ(text.find("anon_inode"), std::string::npos) << text;
  EXPECT_EQ(text.rfind("0 1 2", 0), 0u) << text;
  expect_hand_off_goes_on();
}

TEST_F(Children, ForkedThatExitHurtNobody) {
  for (int i = 0; i < 20; ++i) {
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) ::_exit(7);
    const int status = wait_for(pid);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 7);
  }
  expect_hand_off_goes_on();
}

// Static objects are destroyed in the child; the Context, whose threads are not there, is not.
TEST_F(Children, ForkedThatRunExitHandlersHurtNobody) {
#ifdef BATON_TEST_SANITIZED
  GTEST_SKIP() << "the sanitizer looks for leaks at exit";
#endif
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) std::exit(7);
  const int status = wait_for(pid);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  expect_hand_off_goes_on();
}

// It holds copies of the sockets: nobody hears of the end of a Context by its connections' ends.
TEST_F(Children, ForkedThatLivesOnDoesNotKeepThePeerWaiting) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);  // not close-on-exec: it is the fork that shares it
  const pid_t parent = ::getpid();
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(ends[1]);
    char byte = 0;
    if (::getppid() == parent && ::read(ends[0], &byte, 1) == 0) ::_exit(0);
    ::_exit(1);
  }
  ::close(ends[0]);
  pair_.destroy_prefill();
  EXPECT_FALSE(grant_.wait(20000).is_ok());
  EXPECT_TRUE(grant_.all().is_open());
  target_.memory().poison();
  ::close(ends[1]);
  EXPECT_EQ(wait_for(pid), 0);
  EXPECT_EQ(target_.memory().check_poisoned(0, target_.memory().size()), "");
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_limited_role(argc, argv)) return *status;
  return baton_test::run_all_tests(argc, argv);
}
