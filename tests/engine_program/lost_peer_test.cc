// A prefill or decode process that dies, stops, or is too slow: exit status 3, in bounded time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/engine_program/tool.h"
#include "tests/support/wait_until.h"

namespace {

using baton_test::ChildProcess;
using baton_test::finish_command;
using baton_test::kEngine;
using baton_test::kPrompt;
using baton_test::start_command;
using testing::HasSubstr;

struct Way {
  std::string hand_off;
  std::vector<std::string> arguments;  // that keep it busy with them
  std::string verdict;                 // on those before the end
};

// A prefill process, and a decode process that keeps it busy with round after round.
class LostPeer : public testing::TestWithParam<Way> {
 protected:
  LostPeer()
      : prefill_(kEngine, {"prefill", "--model", "tiny:7", "--chunk-tokens", "8", "--quiet"}) {
    const auto address = prefill_.read_line();
    EXPECT_TRUE(address.has_value());
    server_address_ = address.value_or("");
  }
  ChildProcess start_decode(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {
        "decode", "--model",   "tiny:7",        "--chunk-tokens", "8",   "--prompt",
        kPrompt,  "--connect", server_address_, "--rounds",       "1000"};
    arguments.insert(arguments.end(), GetParam().arguments.begin(), GetParam().arguments.end());
    arguments.insert(arguments.end(), more.begin(), more.end());
    return start_command(kEngine, arguments);
  }
  // The decode process has heard of layers: a hand-off is under way, or nearly.
  static void wait_for_hand_offs(ChildProcess& decode) {
    const std::string mode = "(" + GetParam().hand_off + ")";
    int seen = 0;
    while (seen < 3) {
      const auto line = decode.read_line();
      ASSERT_TRUE(line.has_value());
      if (line->find(mode) != std::string::npos) ++seen;
    }
  }

  ChildProcess prefill_;
  std::string server_address_;
};

TEST_P(LostPeer, PrefillIsKilled) {
  ChildProcess decode = start_decode();
  wait_for_hand_offs(decode);
  prefill_.kill();
  const auto finished = finish_command(decode);
  EXPECT_EQ(finished.code, 3) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr("PEER_LOST"));
  EXPECT_THAT(finished.text, HasSubstr(GetParam().verdict));
}

TEST_P(LostPeer, PrefillStops) {
  ChildProcess decode = start_decode({"--deadline-ms", "4000"});
  wait_for_hand_offs(decode);
  prefill_.stop();
  const auto finished = finish_command(decode);
  EXPECT_EQ(finished.code, 3) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr("DEADLINE_EXCEEDED"));
  prefill_.resume();
}

TEST_P(LostPeer, DecodeIsKilledAndAnotherIsServed) {
  {
    ChildProcess decode = start_decode();
    wait_for_hand_offs(decode);
    decode.kill();
  }
  const auto finished = baton_test::run_command(
      kEngine, {"decode", "--model", "tiny:7", "--chunk-tokens", "8", "--prompt", kPrompt,
                "--connect", server_address_, "--hand-off", GetParam().hand_off, "--quiet"});
  EXPECT_EQ(finished.code, 0) << finished.text;
}

TEST_P(LostPeer, InterruptedByTheUser) {
  ChildProcess decode = start_decode();
  wait_for_hand_offs(decode);
  decode.send_signal(SIGINT);
  EXPECT_EQ(finish_command(decode).code, 130);
  prefill_.send_signal(SIGTERM);
  EXPECT_EQ(prefill_.wait_exit(), (ChildProcess::Exit{false, 130}));
}

INSTANTIATE_TEST_SUITE_P(HandOffs, LostPeer,
                         testing::Values(Way{"push", {}, ""},
                                         Way{"pull",
                                             {"--hand-offs", "1000000", "--hand-off", "pull"},
                                             ", 0 unequal of 1000000\n"}),
                         [](const auto& instance) { return instance.param.hand_off; });

// The same to the user as a prefill process that is gone.
TEST(NobodyThere, AtTheAddress) {
  std::string address;
  {
    ChildProcess prefill(kEngine, {"prefill", "--model", "tiny:7", "--quiet"});
    const auto line = prefill.read_line();
    ASSERT_TRUE(line.has_value());
    address = *line;
    prefill.kill();
  }
  for (const char* command : {"decode", "check"}) {
    const auto finished = baton_test::run_engine_tool(
        {command, "--model", "tiny:7", "--prompt", kPrompt, "--connect", address, "--quiet"});
    EXPECT_EQ(finished.code, 3) << finished.text;
    EXPECT_THAT(finished.text, HasSubstr("PEER_LOST: cannot reach"));
  }
}

TEST(Deadline, TooShort) {
  for (const char* hand_off : {"push", "pull"}) {
    const auto finished = baton_test::run_engine_tool(baton_test::run_arguments(
        {"--deadline-ms", "1", "--chunk-tokens", "1", "--hand-off", hand_off}));
    EXPECT_EQ(finished.code, 3) << finished.text;
    EXPECT_THAT(finished.text, HasSubstr("DEADLINE_EXCEEDED"));
  }
}

}  // namespace
