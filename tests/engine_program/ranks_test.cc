// `baton-engine` with tensor-parallel ranks: equal to one process alone, whatever the heads; and
// ranks that die.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/engine_program/tool.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace {

using baton_test::ChildProcess;
using baton_test::finish_command;
using baton_test::kEngine;
using baton_test::kPrompt;
using baton_test::read_json;
using baton_test::run_engine_tool;
using baton_test::start_command;
using testing::HasSubstr;

struct Ranks {
  std::string name;
  std::string model;
  uint32_t prefill_tp;
  uint32_t decode_tp;
  std::vector<uint32_t> sent_heads;  // KV heads that each prefill rank hands over
  std::vector<uint32_t> held_heads;  // KV heads that each decode rank holds
  std::string hand_off = "push";
};

class EngineRanks : public testing::TestWithParam<Ranks> {};

// The ranks of one side in the report.
std::vector<nlohmann::json> ranks_of(const nlohmann::json& report, const std::string& side) {
  std::vector<nlohmann::json> out;
  for (const auto& rank : report["ranks"]) {
    if (rank["side"] == side) out.push_back(rank);
  }
  return out;
}

TEST_P(EngineRanks, AreEqualToOneProcessAlone) {
  const Ranks& one = GetParam();
  const baton_test::TempDir folder;
  const auto finished = run_engine_tool({"run",
                                         "--model",
                                         one.model,
                                         "--prompt",
                                         kPrompt,
                                         "--quiet",
                                         "--chunk-tokens",
                                         "64",
                                         "--max-new-tokens",
                                         "6",
                                         "--requests",
                                         "2",
                                         "--hand-off",
                                         one.hand_off,
                                         "--prefill-tp",
                                         std::to_string(one.prefill_tp),
                                         "--decode-tp",
                                         std::to_string(one.decode_tp),
                                         "--json",
                                         folder.file("report.json"),
                                         "--timeline-dir",
                                         folder.file("timeline")});
  ASSERT_EQ(finished.code, 0) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr("\nEQUAL: "));
  const auto report = read_json(folder.file("report.json"));
  EXPECT_EQ(report["hand_off"], one.hand_off);
  EXPECT_EQ(report["prefill_tp"], one.prefill_tp);
  EXPECT_EQ(report["decode_tp"], one.decode_tp);
  EXPECT_EQ(report["kv"]["bytes_different"], 0);
  EXPECT_EQ(report["logits"]["different"], 0);
  EXPECT_EQ(report["monolithic"]["tokens"], report["disaggregated"]["tokens"]);

  // 16 bf16 of K and of V of each token but the last, of 4 layers.
  const uint64_t head_bytes = (report["prompt_token_ids"].size() - 1) * 2 * 16 * 2 * 4;
  const auto prefill = ranks_of(report, "prefill");
  const auto decode = ranks_of(report, "decode");
  ASSERT_EQ(prefill.size(), one.prefill_tp);
  ASSERT_EQ(decode.size(), one.decode_tp);
  uint64_t received = 0;
  for (size_t i = 0; i < decode.size(); ++i) {
    EXPECT_EQ(decode[i]["heads"], one.held_heads[i]) << i;
    EXPECT_EQ(decode[i]["kv_bytes"], one.held_heads[i] * head_bytes) << i;
    received += decode[i]["kv_bytes"].get<uint64_t>();
    for (const auto& layer : decode[i]["layers"]) {
      EXPECT_GT(layer["placed_ns"].get<int64_t>(), 0);
      EXPECT_GE(layer["seen_ns"].get<int64_t>(), layer["placed_ns"].get<int64_t>());
    }
  }
  uint64_t sent = 0;
  for (size_t i = 0; i < prefill.size(); ++i) {
    EXPECT_EQ(prefill[i]["heads"], one.sent_heads[i]) << i;
    sent += prefill[i]["kv_bytes"].get<uint64_t>();
    for (const auto& layer : prefill[i]["layers"]) {
      if (one.sent_heads[i] == 0) continue;
      EXPECT_GE(layer["posted_ns"].get<int64_t>(), layer["computed_ns"].get<int64_t>());
    }
  }
  EXPECT_EQ(sent, received);
  EXPECT_EQ(report["handoff"]["kv_bytes"], sent);
  EXPECT_EQ(baton_test::read_text(folder.file("timeline/handoff.svg")).substr(0, 4), "<svg");
}

INSTANTIATE_TEST_SUITE_P(
    Sides, EngineRanks,
    testing::Values(Ranks{"OneToThree", "tiny:7:6:3", 1, 3, {3}, {1, 1, 1}},
                    Ranks{"ThreeToOne", "tiny:7:6:3", 3, 1, {1, 1, 1}, {3}},
                    Ranks{"ThreeToThree", "tiny:7:6:3", 3, 3, {1, 1, 1}, {1, 1, 1}},
                    Ranks{"ThreeToThreeSixHeads", "tiny:7:6:6", 3, 3, {2, 2, 2}, {2, 2, 2}},
                    Ranks{"UnevenToOne", "tiny:7:8:4", 3, 1, {2, 1, 1}, {4}},
                    Ranks{"OneToUneven", "tiny:7:8:4", 1, 3, {4}, {2, 1, 1}},
                    // Copies: two of three ranks hold the same head, one of them sends it.
                    Ranks{"CopiesToOne", "tiny:7", 3, 1, {1, 1, 0}, {2}},
                    Ranks{"OneToCopies", "tiny:7", 1, 3, {2}, {1, 1, 1}},
                    Ranks{"CopiesToCopies", "tiny:7:6:2", 3, 3, {1, 1, 0}, {1, 2, 1}},
                    Ranks{"OneHeadForAll", "tiny:7:5:1", 3, 3, {1, 0, 0}, {1, 1, 1}}),
    [](const auto& instance) { return instance.param.name; });

// Every decode rank reads its heads from those prefill ranks that own them.
INSTANTIATE_TEST_SUITE_P(
    Pulled, EngineRanks,
    testing::Values(Ranks{"OneToOne", "tiny:7:6:3", 1, 1, {3}, {3}, "pull"},
                    Ranks{"OneToThree", "tiny:7:6:3", 1, 3, {3}, {1, 1, 1}, "pull"},
                    Ranks{"ThreeToOne", "tiny:7:6:3", 3, 1, {1, 1, 1}, {3}, "pull"},
                    Ranks{"ThreeToThree", "tiny:7:6:3", 3, 3, {1, 1, 1}, {1, 1, 1}, "pull"},
                    Ranks{"UnevenToOne", "tiny:7:8:4", 3, 1, {2, 1, 1}, {4}, "pull"},
                    Ranks{"OneToUneven", "tiny:7:8:4", 1, 3, {4}, {2, 1, 1}, "pull"},
                    Ranks{"CopiesToOne", "tiny:7", 3, 1, {1, 1, 0}, {2}, "pull"},
                    Ranks{"CopiesToCopies", "tiny:7:6:2", 3, 3, {1, 1, 0}, {1, 2, 1}, "pull"},
                    Ranks{"OneHeadForAll", "tiny:7:5:1", 3, 3, {1, 0, 0}, {1, 1, 1}, "pull"}),
    [](const auto& instance) { return instance.param.name; });

TEST(EngineRanksEdge, EveryWayToHandOver) {
  const std::vector<std::vector<std::string>> ways = {
      {"--hand-off", "push-after"},
      {"--hand-off", "pull", "--kv-dtype", "f32", "--decode-block-tokens", "7"},
      {"--hand-off", "pull", "--chunk-tokens", "1", "--requests", "5"},
      {"--kv-dtype", "f32", "--decode-block-tokens", "7"},
      {"--chunk-tokens", "1", "--requests", "5"},
      {"--rounds", "2", "--measure-layer"}};
  for (const auto& way : ways) {
    std::vector<std::string> arguments = {
        "run",          "--model", "tiny:7",      "--prompt", "Call me Ishmael.", "--quiet",
        "--prefill-tp", "3",       "--decode-tp", "3",        "--max-new-tokens", "3"};
    arguments.insert(arguments.end(), way.begin(), way.end());
    const auto finished = run_engine_tool(arguments);
    EXPECT_EQ(finished.code, 0) << way[0] << "\n" << finished.text;
  }
}

TEST(EngineRanksEdge, AModelWithTooFewHeads) {
  for (const char* side : {"--prefill-tp", "--decode-tp"}) {
    const auto finished =
        run_engine_tool({"run", "--model", "tiny:7:2:1", "--prompt", "xyz", "--quiet", side, "3"});
    EXPECT_EQ(finished.code, 2) << finished.text;
    EXPECT_THAT(finished.text, HasSubstr("do not fill 3 tensor-parallel ranks"));
    EXPECT_EQ(std::count(finished.text.begin(), finished.text.end(), '\n'), 1) << finished.text;
  }
}

// Processes whose parent is `parent`.
std::set<pid_t> children_of(pid_t parent) {
  std::set<pid_t> out;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(parent) + "/task")) {
    std::ifstream in(task.path() / "children");
    pid_t child = 0;
    while (in >> child) out.insert(child);
  }
  return out;
}

// The two ranks that `leader` has started.
std::vector<pid_t> ranks_of_process(pid_t leader) {
  std::set<pid_t> children;
  EXPECT_TRUE(baton_test::wait_until([&] {
    children = children_of(leader);
    return children.size() == 2;
  }));
  return {children.begin(), children.end()};
}

// As /proc has it; 0: there is no such process.
char state_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(in, text)) return 0;
  const size_t name_end = text.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= text.size() ? char{0}
                                                                      : text[name_end + 2];
}

// Ended, whether or not whoever adopted it has reaped it.
bool is_gone(pid_t pid) {
  const char state = state_of(pid);
  return state == 0 || state == 'Z' || state == 'X';
}

// A prefill side and a decode side of three ranks each, busy with one hand-off after the other.
class RanksDie : public testing::TestWithParam<const char*> {
 protected:
  RanksDie()
      : prefill_(start_command(kEngine, {"prefill", "--model", "tiny:7", "--chunk-tokens", "8",
                                         "--prefill-tp", "3", "--quiet"})) {
    const auto address = prefill_.read_line();
    EXPECT_TRUE(address.has_value());
    address_ = address.value_or("");
  }
  ChildProcess start_decode(const std::string& hand_offs = "1000000") {
    return start_command(
        kEngine, {"decode", "--model", "tiny:7", "--chunk-tokens", "8", "--prompt", kPrompt,
                  "--connect", address_, "--decode-tp", "3", "--hand-offs", hand_offs, "--hand-off",
                  GetParam(), "--max-new-tokens", "2"});
  }
  // It is in the middle of them.
  static void wait_for_hand_offs(ChildProcess& decode) {
    const std::string mode = std::string("(") + GetParam() + ")";
    ASSERT_TRUE(decode.read_line_after("[").has_value());
    int seen = 0;
    while (seen < 3) {
      const auto line = decode.read_line();
      ASSERT_TRUE(line.has_value());
      if (line->find(mode) != std::string::npos) ++seen;
    }
  }

  ChildProcess prefill_;
  std::string address_;
};

TEST_P(RanksDie, APrefillRankIsNamedAndBothSidesEnd) {
  const auto ranks = ranks_of_process(prefill_.pid());
  ASSERT_EQ(ranks.size(), 2U);
  ChildProcess decode = start_decode();
  wait_for_hand_offs(decode);
  ::kill(ranks[1], SIGKILL);
  const auto prefill = finish_command(prefill_);
  EXPECT_EQ(prefill.code, 3) << prefill.text;
  EXPECT_THAT(prefill.text, HasSubstr("is gone: killed by signal 9"));
  EXPECT_THAT(prefill.text, HasSubstr("prefill rank "));
  const auto finished = finish_command(decode);
  EXPECT_EQ(finished.code, 3) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr("hand-offs: "));
  EXPECT_THAT(finished.text, HasSubstr(", 0 unequal of 1000000"));
  // The other rank does not outlive its leader.
  EXPECT_TRUE(baton_test::wait_until([&] { return is_gone(ranks[0]); }));
}

TEST_P(RanksDie, ADecodeRankIsNamedAndAnotherDecodeSideIsServed) {
  {
    ChildProcess decode = start_decode();
    const auto ranks = ranks_of_process(decode.pid());
    ASSERT_EQ(ranks.size(), 2U);
    wait_for_hand_offs(decode);
    ::kill(ranks[0], SIGKILL);
    const auto finished = finish_command(decode);
    EXPECT_EQ(finished.code, 3) << finished.text;
    EXPECT_THAT(finished.text, HasSubstr("decode rank "));
    EXPECT_THAT(finished.text, HasSubstr("is gone: killed by signal 9"));
    EXPECT_TRUE(baton_test::wait_until([&] { return is_gone(ranks[1]); }));
  }
  const auto again = run_engine_tool({"check", "--model", "tiny:7", "--chunk-tokens", "8",
                                      "--prompt", kPrompt, "--connect", address_, "--quiet"});
  EXPECT_EQ(again.code, 0) << again.text;
}

TEST_P(RanksDie, RanksGoWithALeaderThatIsKilled) {
  const auto ranks = ranks_of_process(prefill_.pid());
  prefill_.kill();
  for (const pid_t rank : ranks) {
    EXPECT_TRUE(baton_test::wait_until([rank] { return is_gone(rank); })) << rank;
  }
}

// A rank that stops for a moment is not gone: the others wait for it, and go on when it does.
TEST_P(RanksDie, OneThatStopsAndGoesOnChangesNothing) {
  const auto ranks = ranks_of_process(prefill_.pid());
  ChildProcess decode = start_decode("60");
  wait_for_hand_offs(decode);
  ::kill(ranks[0], SIGSTOP);
  EXPECT_TRUE(baton_test::wait_until([&] { return state_of(ranks[0]) == 'T'; }));
  ::kill(ranks[0], SIGCONT);
  const auto finished = finish_command(decode);
  EXPECT_EQ(finished.code, 0) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr("hand-offs: 60 equal, 0 cancelled, 0 unequal of 60\n"));
}

std::string name_of_hand_off(const testing::TestParamInfo<const char*>& instance) {
  return instance.param;
}

INSTANTIATE_TEST_SUITE_P(HandOffs, RanksDie, testing::Values("push", "pull"), name_of_hand_off);

}  // namespace
