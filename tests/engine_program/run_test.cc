// What `baton-engine run` finds when all is well.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "tests/engine/small_gguf.h"
#include "tests/engine_program/tool.h"
#include "tests/support/temp_dir.h"

namespace {

using baton_test::kEngine;
using baton_test::kPrompt;
using baton_test::read_json;
using baton_test::run_arguments;
using baton_test::run_engine_tool;

struct Mode {
  std::string name;
  std::vector<std::string> arguments;
};

class EngineRun : public testing::TestWithParam<Mode> {};

TEST_P(EngineRun, IsEqualToOneProcessAlone) {
  const baton_test::TempDir folder;
  std::vector<std::string> arguments =
      run_arguments({"--max-new-tokens", "12", "--json", folder.file("report.json"),
                     "--timeline-dir", folder.file("timeline")});
  arguments.insert(arguments.end(), GetParam().arguments.begin(), GetParam().arguments.end());
  const auto finished = run_engine_tool(arguments);
  ASSERT_EQ(finished.code, 0) << finished.text;
  EXPECT_NE(finished.text.find("EQUAL"), std::string::npos) << finished.text;

  const auto report = read_json(folder.file("report.json"));
  EXPECT_EQ(report["transport"], "tcp");
  EXPECT_GE(report["prompt_token_ids"].size(), kPrompt.size());  // tiny: a token a byte
  EXPECT_EQ(report["monolithic"]["tokens"], report["disaggregated"]["tokens"]);
  EXPECT_EQ(report["monolithic"]["text"], report["disaggregated"]["text"]);
  EXPECT_EQ(report["kv"]["bytes_different"], 0);
  EXPECT_GT(report["kv"]["bytes_compared"], 0);
  ASSERT_EQ(report["layers"].size(), 4U);
  int64_t computed_before = 0;
  for (const auto& layer : report["layers"]) {
    const auto computed = layer["computed_ns"].get<int64_t>();
    EXPECT_GT(computed, computed_before);
    EXPECT_GE(layer["posted_ns"].get<int64_t>(), computed);
    EXPECT_GE(layer["placed_ns"].get<int64_t>(), computed);
    EXPECT_GE(layer["seen_ns"].get<int64_t>(), layer["placed_ns"].get<int64_t>());
    computed_before = computed;
  }
  EXPECT_GT(report["tail_ns"].get<int64_t>(), 0);
  for (const char* mode : {"monolithic", "disaggregated", "push_after"}) {
    EXPECT_GT(report["ttft_ns"][mode].get<int64_t>(), 0) << mode;
  }
  EXPECT_EQ(baton_test::read_text(folder.file("timeline/handoff.svg")).substr(0, 4), "<svg");
  EXPECT_FALSE(read_json(folder.file("timeline/handoff.perfetto.json"))["traceEvents"].empty());
}

INSTANTIATE_TEST_SUITE_P(
    Modes, EngineRun,
    testing::Values(Mode{"Push", {"--chunk-tokens", "64"}},
                    Mode{"OneChunk", {"--chunk-tokens", "4096"}},
                    Mode{"ChunksWithinABlock", {"--chunk-tokens", "5", "--block-tokens", "16"}},
                    Mode{"Pull", {"--hand-off", "pull", "--chunk-tokens", "64"}},
                    Mode{"PullOneChunk", {"--hand-off", "pull", "--chunk-tokens", "4096"}},
                    Mode{"PullChunksWithinABlock",
                         {"--hand-off", "pull", "--chunk-tokens", "5", "--block-tokens", "16"}},
                    Mode{"PullBlockSizesDiffer",
                         {"--hand-off", "pull", "--block-tokens", "16", "--decode-block-tokens",
                          "7", "--kv-dtype", "f32"}},
                    Mode{"PullSevenRequestsInFlight",
                         {"--hand-off", "pull", "--requests", "7", "--chunk-tokens", "32"}},
                    Mode{"PushAfter", {"--hand-off", "push-after", "--chunk-tokens", "64"}},
                    Mode{"Float32", {"--kv-dtype", "f32", "--chunk-tokens", "64"}},
                    Mode{"BlockSizesDiffer",
                         {"--block-tokens", "16", "--decode-block-tokens", "7"}},
                    Mode{"SevenRequestsInFlight", {"--requests", "7", "--chunk-tokens", "32"}},
                    Mode{"Measured", {"--rounds", "3", "--measure-layer", "--chunk-tokens", "64"}},
                    Mode{"Chat", {"--chat"}}),
    [](const auto& instance) { return instance.param.name; });

// A chunk a token: more chunks than a Transfer takes unfinished, and a record that is longer than
// one message.
TEST(EngineRunEdge, AThousandChunks) {
  for (const char* hand_off : {"push", "pull"}) {
    const baton_test::TempDir folder;
    const std::string prompt(1000, 'x');
    const auto finished =
        run_engine_tool({"check", "--model", "tiny:3", "--prompt", prompt, "--chunk-tokens", "1",
                         "--max-new-tokens", "4", "--quiet", "--hand-off", hand_off, "--json",
                         folder.file("report.json")});
    EXPECT_EQ(finished.code, 0) << finished.text;
    const auto report = read_json(folder.file("report.json"));
    EXPECT_EQ(report["equal"], true);
    EXPECT_EQ(report["hand_off"], hand_off);
    EXPECT_EQ(report["handoff"]["chunks"].size(), report["prompt_token_ids"].size() - 1);
  }
}

// The paths of all values, so that two reports can be set side by side.
std::set<std::string> keys_of(const nlohmann::json& value, const std::string& path = "") {
  std::set<std::string> out;
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) {
      out.merge(keys_of(inner, path.empty() ? key : path + "." + key));
    }
  } else if (value.is_array() && !value.empty()) {
    out = keys_of(value.front(), path + "[]");
  } else {
    out.insert(path + ": " + value.type_name());
  }
  return out;
}

TEST(EngineRunEdge, TheReportHasTheSameKeysHoweverItWasHandedOver) {
  const baton_test::TempDir folder;
  std::set<std::string> keys;
  for (const char* hand_off : {"push", "pull", "push-after"}) {
    const auto finished = run_engine_tool(
        run_arguments({"--hand-off", hand_off, "--json", folder.file("report.json")}));
    ASSERT_EQ(finished.code, 0) << finished.text;
    const auto report = read_json(folder.file("report.json"));
    EXPECT_EQ(report["hand_off"], hand_off);
    if (keys.empty()) keys = keys_of(report);
    EXPECT_EQ(keys_of(report), keys) << hand_off;
  }
}

// Nothing to hand over: the prompt's only token is the first decode step.
TEST(EngineRunEdge, APromptOfOneToken) {
  for (const char* hand_off : {"push", "pull"}) {
    const auto finished = run_engine_tool(
        {"run", "--model", "tiny:3", "--prompt", "x", "--hand-off", hand_off, "--quiet"});
    EXPECT_EQ(finished.code, 0) << finished.text;
  }
}

TEST(EngineRunEdge, APromptOfTwoTokens) {
  for (const char* hand_off : {"push", "pull"}) {
    const auto finished = run_engine_tool(
        {"run", "--model", "tiny:3", "--prompt", "xy", "--hand-off", hand_off, "--quiet"});
    EXPECT_EQ(finished.code, 0) << finished.text;
  }
}

TEST(EngineRunEdge, PrefillAndDecodeStartedApartGiveTheTextOfOneProcess) {
  baton_test::ChildProcess prefill(
      kEngine, {"prefill", "--model", "tiny:7", "--chunk-tokens", "64", "--once", "--quiet"});
  const auto address = prefill.read_line();
  ASSERT_TRUE(address.has_value());
  const baton_test::TempDir folder;
  const auto decode =
      run_engine_tool({"decode", "--model", "tiny:7", "--chunk-tokens", "64", "--prompt", kPrompt,
                       "--connect", *address, "--quiet", "--json", folder.file("report.json")});
  EXPECT_EQ(decode.code, 0) << decode.text;
  EXPECT_EQ(prefill.wait_exit(), (baton_test::ChildProcess::Exit{false, 0}));
  const auto alone = run_engine_tool(
      {"monolithic", "--model", "tiny:7", "--chunk-tokens", "64", "--prompt", kPrompt, "--quiet"});
  EXPECT_EQ(alone.code, 0);
  const auto report = read_json(folder.file("report.json"));
  EXPECT_EQ(alone.text, report["disaggregated"]["text"].get<std::string>() + "\n");
}

// What `run` prints last, and nothing else.
void expect_verdict_alone(const baton_test::Finished& finished) {
  EXPECT_EQ(finished.code, 0) << finished.text;
  EXPECT_EQ(finished.text.substr(0, 11), "KV compared") << finished.text;
  EXPECT_EQ(std::count(finished.text.begin(), finished.text.end(), '\n'), 5) << finished.text;
  EXPECT_NE(finished.text.find(" bytes, 0 different\n"), std::string::npos) << finished.text;
  EXPECT_NE(finished.text.find("\nEQUAL: "), std::string::npos) << finished.text;
}

TEST(EngineCheck, StartsAPrefillProcess) {
  expect_verdict_alone(run_engine_tool({"check", "--model", "tiny:7", "--chunk-tokens", "64",
                                        "--prompt", kPrompt, "--requests", "3", "--quiet"}));
}

TEST(EngineCheck, OrConnectsToOne) {
  baton_test::ChildProcess prefill(
      kEngine, {"prefill", "--model", "tiny:7", "--chunk-tokens", "64", "--once", "--quiet"});
  const auto address = prefill.read_line();
  ASSERT_TRUE(address.has_value());
  expect_verdict_alone(
      run_engine_tool({"check", "--model", "tiny:7", "--chunk-tokens", "64", "--prompt", kPrompt,
                       "--hand-off", "push-after", "--connect", *address, "--quiet"}));
  EXPECT_EQ(prefill.wait_exit(), (baton_test::ChildProcess::Exit{false, 0}));
}

// Two models of one name and shape that differ in one weight: nothing but the comparison can tell.
TEST(EngineCheck, OtherWeightsAreUnequal) {
  const baton_test::TempDir folder;
  const std::string path = folder.file("model.gguf");
  baton_test::SmallGguf model;
  const auto write = [&path](const std::vector<uint8_t>& bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  };
  write(model.builder().build());
  baton_test::ChildProcess prefill(kEngine, {"prefill", "--model", path, "--quiet"});
  const auto address = prefill.read_line();
  ASSERT_TRUE(address.has_value());
  const std::vector<std::string> check = {
      "check",   "--model",          path, "--prompt",  "abab",
      "--quiet", "--max-new-tokens", "2",  "--connect", *address};
  EXPECT_EQ(run_engine_tool(check).code, 0);
  model.key_weight = 0.25F;
  write(model.builder().build());
  const auto finished = run_engine_tool(check);
  EXPECT_EQ(finished.code, 1) << finished.text;
  EXPECT_NE(finished.text.find("\nUNEQUAL: "), std::string::npos) << finished.text;
}

}  // namespace
