// baton-sim as a program: what its JSON, its exit status, its replay command and its trace promise.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace baton_test {
namespace {

constexpr const char* kProgram = BATON_SIM_PATH;

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

// Lines that begin so, without that.
std::vector<std::string> lines_with(const std::string& text, const std::string& begin) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(begin, 0) == 0) lines.push_back(line.substr(begin.size()));
  }
  return lines;
}

TEST(SimCli, JsonHasItsKeysAndNoOthers) {
  const TempDir dir;
  const Finished run =
      run_command(kProgram, {"--from", "1", "--seeds", "8", "--json", dir.file("sim.json")});
  ASSERT_EQ(run.code, 0) << run.text;
  const nlohmann::json json = read_json(dir.file("sim.json"));
  std::set<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.insert(key);
  EXPECT_EQ(keys, (std::set<std::string>{"seeds", "failures", "handoffs", "bytes_checked", "faults",
                                         "settlements", "fences", "virtual_seconds"}));
  EXPECT_EQ(json["seeds"], 8);
  EXPECT_TRUE(json["failures"].is_array() && json["failures"].empty());
  EXPECT_GT(json["handoffs"].get<uint64_t>(), 0u);
  EXPECT_GT(json["bytes_checked"].get<uint64_t>(), 0u);
  EXPECT_GT(json["fences"].get<uint64_t>(), 0u);
  EXPECT_GT(json["virtual_seconds"].get<double>(), 0.0);
  EXPECT_FALSE(json["faults"].empty());
  for (const auto& [kind, count] : json["faults"].items())
    EXPECT_GT(count.get<uint64_t>(), 0u) << kind;
}

// Its hash is that of all that happened in it.
TEST(SimCli, ASeedAloneIsTheRunThatItIsAmongOthers) {
  const Finished batch = run_command(kProgram, {"--from", "9", "--seeds", "4", "--trace"});
  ASSERT_EQ(batch.code, 0);
  const std::vector<std::string> hashes = lines_with(batch.text, "hash ");
  ASSERT_EQ(hashes.size(), 4u);
  EXPECT_EQ(std::set<std::string>(hashes.begin(), hashes.end()).size(), 4u);
  for (size_t i = 0; i < hashes.size(); ++i) {
    const std::string seed = std::to_string(9 + i);
    const Finished alone = run_command(kProgram, {"--from", seed, "--seeds", "1", "--trace"});
    EXPECT_EQ(lines_with(alone.text, "hash "), std::vector<std::string>{hashes[i]})
        << "seed " << seed;
  }
}

// Time, member, what happened; before that the scenario.
TEST(SimCli, ATraceTellsAReaderWhatHappened) {
  const Finished run =
      run_command(kProgram, {"--from", "3", "--seeds", "1", "--capabilities", "srd", "--trace"});
  ASSERT_EQ(run.code, 0);
  EXPECT_EQ(lines_with(run.text, "capabilities srd").size(), 1u);
  EXPECT_FALSE(lines_with(run.text, "rail: ").empty());
  EXPECT_FALSE(lines_with(run.text, "request 0: ").empty());
  for (const char* what : {" ms  member-0  ", " ms  fabric    ", "sends to member-",
                           "log: ", "event: peer up", "event: grant ended"})
    EXPECT_NE(run.text.find(what), std::string::npos) << what;
}

TEST(SimCli, WhatDidNotOccurIsNamedWhereAllIsRequired) {
  const Finished run = run_command(kProgram, {"--from", "1", "--seeds", "1", "--require-all"});
  EXPECT_EQ(run.code, 1);
  const auto absent = lines_with(run.text, "did not occur in any seed:");
  ASSERT_EQ(absent.size(), 1u);
  EXPECT_NE(absent[0].find(" power_loss"), std::string::npos) << absent[0];
}

TEST(SimCli, AWrongCommandLineIsTwo) {
  EXPECT_EQ(run_command(kProgram, {"--seeds", "0"}).code, 2);
  EXPECT_EQ(run_command(kProgram, {"--capabilities", "ib"}).code, 2);
  EXPECT_EQ(run_command(kProgram, {"--mutant", "settle-twice"}).code, 2) << "a build without them";
  EXPECT_EQ(run_command(kProgram, {"--seeds", "1", "--json", "/nowhere/sim.json"}).code, 2);
}

#ifdef BATON_SIM_MUTANTS_PATH
std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

constexpr const char* kMutants = BATON_SIM_MUTANTS_PATH;

TEST(SimCli, AFailureNamesItsSeedAndTheCommandThatRepeatsIt) {
  const TempDir dir;
  const Finished run = run_command(kMutants, {"--mutant", "credit-twice", "--seeds", "400",
                                              "--stop-at-first", "--json", dir.file("sim.json")});
  EXPECT_EQ(run.code, 1);
  const nlohmann::json json = read_json(dir.file("sim.json"));
  ASSERT_EQ(json["failures"].size(), 1u) << run.text;
  const nlohmann::json& failure = json["failures"][0];
  const std::string seed = std::to_string(failure["seed"].get<uint64_t>());
  EXPECT_EQ(json["seeds"], failure["seed"]) << "it began with 1, and ended with this one";
  EXPECT_FALSE(failure["message"].get<std::string>().empty());
  const std::string replay = failure["replay"];
  EXPECT_NE(replay.find("--from " + seed + " --seeds 1 "), std::string::npos) << replay;
  EXPECT_EQ(lines_with(run.text, "repeat with: "), std::vector<std::string>{replay});
  EXPECT_EQ(lines_with(run.text, "seed " + seed + " (").size(), 1u);

  std::vector<std::string> words = words_of(replay);
  const std::string program = words.front();
  words.erase(words.begin());
  words.insert(words.end(), {"--json", dir.file("again.json")});
  const Finished again = run_command(program, words);
  EXPECT_EQ(again.code, 1);
  EXPECT_EQ(lines_with(again.text, "hash ").size(), 1u) << "with a trace";
  EXPECT_EQ(read_json(dir.file("again.json"))["failures"], json["failures"]);
}

// An assertion of the library ends the process of the run, and neither the others nor the report.
TEST(SimCli, ARunThatEndsItsProcessIsAFailureAmongTheOthers) {
  const TempDir dir;
  const Finished run = run_command(
      kMutants, {"--mutant", "slot-freed-early", "--seeds", "60", "--json", dir.file("sim.json")});
  EXPECT_EQ(run.code, 1);
  const nlohmann::json json = read_json(dir.file("sim.json"));
  EXPECT_EQ(json["seeds"], 60) << "the others have run";
  const auto died = [](const nlohmann::json& failure) {
    return failure["message"].get<std::string>().find("ended by signal 6") != std::string::npos;
  };
  const nlohmann::json& failures = json["failures"];
  const auto dead = std::find_if(failures.begin(), failures.end(), died);
  ASSERT_NE(dead, failures.end()) << failures.dump(2);
  std::vector<std::string> words = words_of((*dead)["replay"]);
  words.erase(words.begin());
  words.insert(words.end(), {"--json", dir.file("again.json")});
  EXPECT_EQ(run_command(kMutants, words).code, 1);
  EXPECT_EQ(read_json(dir.file("again.json"))["failures"], nlohmann::json::array({*dead}));
}

#endif

}  // namespace
}  // namespace baton_test
