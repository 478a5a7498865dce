#include "tests/support/child_process.h"

#include <gtest/gtest.h>

#include <csignal>

#include "tests/support/command.h"

namespace baton_test {
namespace {

using std::chrono::milliseconds;

TEST(ChildProcessTest, TalksInLinesAndReturnsItsStatus) {
  ChildProcess child = ChildProcess::self({"--child=echo"});
  EXPECT_EQ(child.read_line_after("ready "), std::to_string(child.pid()));
  EXPECT_TRUE(child.write_line("one"));
  EXPECT_TRUE(child.write_line("two words"));
  EXPECT_EQ(child.read_line(), "echo one");
  EXPECT_EQ(child.read_line(), "echo two words");
  EXPECT_EQ(child.wait_exit(milliseconds(0)), std::nullopt);
  child.close_stdin();
  EXPECT_EQ(child.read_line(), std::nullopt);
  EXPECT_EQ(child.wait_exit(), (ChildProcess::Exit{false, 7}));
  EXPECT_EQ(child.wait_exit(), (ChildProcess::Exit{false, 7}));
}

TEST(ChildProcessTest, StopsAndGoesOn) {
  ChildProcess child = ChildProcess::self({"--child=echo"});
  ASSERT_TRUE(child.read_line_after("ready "));
  child.stop();
  EXPECT_TRUE(child.write_line("held"));
  EXPECT_EQ(child.read_line(milliseconds(20)), std::nullopt);
  child.resume();
  EXPECT_EQ(child.read_line(), "echo held");
}

TEST(ChildProcessTest, KillReapsAndLaterWritesFail) {
  ChildProcess child = ChildProcess::self({"--child=echo"});
  ASSERT_TRUE(child.read_line_after("ready "));
  child.kill();
  EXPECT_EQ(child.wait_exit(), (ChildProcess::Exit{true, SIGKILL}));
  EXPECT_FALSE(child.write_line("anyone"));
  EXPECT_EQ(::kill(child.pid(), 0), -1);
}

TEST(ChildProcessTest, DiesWithItsOwner) {
  pid_t pid = 0;
  {
    ChildProcess child = ChildProcess::self({"--child=echo"});
    pid = child.pid();
    child.stop();
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(CommandTest, CollectsBothStreamsAndALastLineWithoutABreak) {
  const auto finished = run_command("/bin/sh", {"-c", "echo one; printf two >&2; exit 3"});
  EXPECT_EQ(finished.code, 3);
  EXPECT_EQ(finished.text, "one\ntwo");
}

TEST(CommandTest, KillsWhatDoesNotEndAndSaysSo) {
  auto process = start_command("/bin/sh", {"-c", "echo one; read nothing"});
  ASSERT_EQ(process.read_line(), "one");  // the limit counts from here
  const auto finished = finish_command(process, milliseconds(20));
  EXPECT_EQ(finished.code, -1);
  EXPECT_NE(finished.text.find("killed"), std::string::npos) << finished.text;
  EXPECT_EQ(process.wait_exit(), (ChildProcess::Exit{true, SIGKILL}));
}

}  // namespace
}  // namespace baton_test
