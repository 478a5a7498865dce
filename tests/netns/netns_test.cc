// Two processes in network namespaces of their own: what only a real link does. It goes down in the
// middle of a hand-off, for good or for a moment, and it is slow. Nobody is told of that by a
// reset: what ends a hand-off is the silence of the heartbeats, on both sides.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>

#include "tests/integration/hand_off.h"
#include "tests/integration/process_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_main.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

std::string script;  // from the command line

constexpr int64_t kSlackMs = 10'000;  // for a busy machine, on top of what is promised

std::string own_path() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

class Netns : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_FALSE(script.empty()) << "run it by ctest, or with --namespaces=SCRIPT";
    namespaces_.emplace("/bin/bash", std::vector<std::string>{script});
    const std::string line = namespaces_->read_line().value_or("nothing");
    std::istringstream words(line);
    std::string word;
    words >> word >> left_ >> right_;
    if (word != "NAMESPACES") GTEST_SKIP() << line << ": NOTHING WAS TESTED";
    secret_ = dir_.path() + "/secret";
    std::ofstream(secret_) << "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL";
    std::filesystem::permissions(secret_, std::filesystem::perms::owner_read);
  }
  // Its namespaces outlive no test: their end is waited for.
  void TearDown() override {
    prefill_.reset();
    decode_.reset();
    if (!namespaces_) return;
    namespaces_->close_stdin();
    EXPECT_TRUE(namespaces_->wait_exit().has_value());
  }

  void start(uint32_t heartbeat_ms, uint32_t dead_after_ms) {
    const std::vector<std::string> common = {"--secret=" + secret_,
                                             "--heartbeat-ms=" + std::to_string(heartbeat_ms),
                                             "--dead-after-ms=" + std::to_string(dead_after_ms)};
    prefill_ = within(left_, "prefill", "--bind=10.77.0.1", common);
    decode_ = within(right_, "decode", "--bind=10.77.0.2", common);
    address_ = prefill_->read_line_after("ADDRESS ").value_or("");
    ASSERT_NE(address_, "") << "the prefill process did not start";
    ASSERT_TRUE(decode_->read_line_after("READY").has_value());
  }

  static std::unique_ptr<ChildProcess> within(const std::string& name, const std::string& role,
                                              const std::string& bind,
                                              const std::vector<std::string>& common) {
    std::vector<std::string> arguments = {"netns",    "exec",           name,
                                          own_path(), "--role=" + role, bind};
    arguments.insert(arguments.end(), common.begin(), common.end());
    return std::make_unique<ChildProcess>(ip_path(), arguments);
  }
  static std::string ip_path() {
    return std::filesystem::exists("/usr/sbin/ip") ? "/usr/sbin/ip" : "/sbin/ip";
  }

  void set_link(const std::string& state) {
    const auto set = run_command(ip_path(), {"-n", left_, "link", "set", "eth0", state});
    ASSERT_EQ(set.code, 0) << set.text;
  }
  // Of what each side sends. The burst holds one segment as veth hands it over.
  void limit_rate(const std::string& rate) {
    for (const std::string& name : {left_, right_}) {
      const auto set =
          run_command("/bin/sh", {"-c", "PATH=$PATH:/usr/sbin:/sbin; exec tc -n " + name +
                                            " qdisc add dev eth0 root tbf rate " + rate +
                                            " burst 128kb latency 100ms"});
      ASSERT_EQ(set.code, 0) << set.text;
    }
  }

  static std::string ask(ChildProcess& child, const std::string& command,
                         const std::string& answer) {
    EXPECT_TRUE(child.write_line(command));
    return child.read_line_after(answer, std::chrono::seconds(60)).value_or("nothing");
  }
  // A hand-off of which so many layers are final.
  void begin(uint32_t layers, const std::string& tag, By by = By::kPush) {
    const std::string number = std::to_string(layers);
    if (by == By::kPush) {
      ASSERT_EQ(ask(*decode_, "grant 40000 " + address_ + " 0 " + tag, "GRANTED"), "");
      ASSERT_EQ(ask(*prefill_, "push " + number + " " + tag, "PUSHING"), "");
    } else {
      ASSERT_EQ(ask(*decode_, "connect " + address_, "CONNECTED"), "");
      ASSERT_EQ(ask(*prefill_, "offer 40000 " + number + " " + tag, "OFFERED"), "");
      ASSERT_EQ(ask(*decode_, "pull " + address_ + " " + tag, "PULLING"), "");
    }
  }
  // All of a hand-off, compared.
  void expect_hand_off(const std::string& tag, uint64_t seed, By by = By::kPush) {
    begin(16, tag, by);
    EXPECT_EQ(ask(*decode_, "wait", "ENDED "), "DONE");
    EXPECT_EQ(ask(*prefill_, "wait", "ENDED "), "DONE");
    EXPECT_EQ(ask(*decode_, "compare " + std::to_string(seed), "SAME"), "");
  }

  TempDir dir_;
  std::optional<ChildProcess> namespaces_;
  std::string left_;
  std::string right_;
  std::string secret_;
  std::string address_;
  std::unique_ptr<ChildProcess> prefill_;
  std::unique_ptr<ChildProcess> decode_;
};

TEST_F(Netns, HandsOverBetweenHosts) {
  ASSERT_NO_FATAL_FAILURE(start(500, 5000));
  expect_hand_off("r", kOriginal);
  EXPECT_EQ(ask(*decode_, "poison", "POISONED"), "");
  expect_hand_off("s", kOriginal, By::kPull);
}

class NetnsBy : public Netns, public testing::WithParamInterface<By> {};

INSTANTIATE_TEST_SUITE_P(Tcp, NetnsBy, testing::Values(By::kPush, By::kPull), [](const auto& by) {
  return std::string(by.param == By::kPush ? "Pushed" : "Pulled");
});

// 48 MB take some seconds; heartbeats come through all the time.
TEST_P(NetnsBy, ASlowLinkIsNotADeadPeer) {
  limit_rate("160mbit");
  ASSERT_NO_FATAL_FAILURE(start(300, 1500));
  expect_hand_off("r", kOriginal, GetParam());
}

TEST_P(NetnsBy, LinkDownInTheMiddleTellsBothByTheirSilenceAndLinkUpLetsThemMeetAgain) {
  limit_rate("160mbit");
  ASSERT_NO_FATAL_FAILURE(start(300, 1500));
  begin(15, "r", GetParam());
  ASSERT_TRUE(decode_->read_line_after("FIRST").has_value());
  const auto down = std::chrono::steady_clock::now();
  set_link("down");
  ASSERT_TRUE(prefill_->write_line("wait"));
  EXPECT_EQ(ask(*decode_, "wait", "ENDED "), "FAILED");
  EXPECT_LT(since_ms(down), 1500 + 2000 + kSlackMs);
  EXPECT_EQ(decode_->read_line_after("CODE ").value_or("?"), "PEER_LOST");
  EXPECT_EQ(prefill_->read_line_after("ENDED ").value_or("?"), "FAILED");
  EXPECT_LT(since_ms(down), 1500 + 2000 + kSlackMs);
  EXPECT_EQ(prefill_->read_line_after("CODE ").value_or("?"),
            GetParam() == By::kPush ? "IN_DOUBT" : "PEER_LOST");
  // The source is another request's, the pages are, too; then what was under way may come.
  EXPECT_EQ(ask(*prefill_, "overwrite", "OVERWRITTEN"), "");
  EXPECT_EQ(ask(*decode_, "foreign", "FOREIGN "), "0");
  EXPECT_EQ(ask(*decode_, "poison", "POISONED"), "");
  set_link("up");
  // The kernel may take a moment to find the neighbour that it had given up.
  EXPECT_TRUE(wait_until([&] {
    EXPECT_TRUE(decode_->write_line("connect " + address_));
    return decode_->read_line(std::chrono::seconds(40)).value_or("?") == "CONNECTED";
  }));
  expect_hand_off("s", kOverwritten, GetParam());
}

// Shorter than peer_dead_after: the transport repeats what was lost, and nobody ends.
TEST_F(Netns, LinkDownForAMomentOnlyDelays) {
  limit_rate("160mbit");
  ASSERT_NO_FATAL_FAILURE(start(500, 15000));
  begin(16, "r");
  ASSERT_TRUE(decode_->read_line_after("FIRST").has_value());
  set_link("down");
  set_link("up");
  EXPECT_EQ(ask(*decode_, "wait", "ENDED "), "DONE");
  EXPECT_EQ(ask(*prefill_, "wait", "ENDED "), "DONE");
  EXPECT_EQ(ask(*decode_, "compare " + std::to_string(kOriginal), "SAME"), "");
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_child_role(argc, argv)) return *status;
  const std::string option = "--namespaces=";
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind(option, 0) == 0) baton_test::script = argument.substr(option.size());
  }
  return baton_test::run_all_tests(argc, argv);
}
