// The real model from end to end: a prompt, two processes, and what one process alone makes of it.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/engine_program/tool.h"
#include "tests/support/temp_dir.h"

namespace {

using baton_test::read_json;
using baton_test::run_engine_tool;

TEST(RealModel, HandedOverIsEqualToOneProcessAlone) {
  if (!std::filesystem::exists(BATON_MODEL_FILE)) {
    GTEST_SKIP() << "NOT TESTED with the real model: " << BATON_MODEL_FILE
                 << " is missing. Type: examples/reference_engine/fetch_model";
  }
  const baton_test::TempDir folder;
  const auto finished =
      run_engine_tool({"run", "--model", BATON_MODEL_FILE, "--prompt", "The capital of France is",
                       "--max-new-tokens", "4", "--quiet", "--json", folder.file("report.json")});
  ASSERT_EQ(finished.code, 0) << finished.text;
  EXPECT_NE(finished.text.find("EQUAL"), std::string::npos) << finished.text;

  const auto report = read_json(folder.file("report.json"));
  EXPECT_EQ(report["disaggregated"]["text"].get<std::string>().substr(0, 6), " Paris");
  EXPECT_EQ(report["monolithic"]["tokens"].size(), 4U);
  EXPECT_EQ(report["monolithic"]["tokens"], report["disaggregated"]["tokens"]);
  EXPECT_EQ(report["monolithic"]["text"], report["disaggregated"]["text"]);
  EXPECT_EQ(report["equal"], true);
  EXPECT_EQ(report["kv"]["bytes_different"], 0);
  EXPECT_EQ(report["logits"]["different"], 0);
  // K and V, 3 heads of 64 bf16, of each token of the prompt but the last, which decode computes.
  const uint64_t layer_bytes = (report["prompt_token_ids"].size() - 1) * 2 * 3 * 64 * 2;
  ASSERT_EQ(report["layers"].size(), 30U);
  for (const auto& layer : report["layers"]) EXPECT_EQ(layer["bytes"], layer_bytes);
  EXPECT_GT(report["kv"]["bytes_compared"].get<uint64_t>(), 30 * layer_bytes);
}

// Three ranks on both sides, a KV head each.
TEST(RealModel, OverRanksIsEqualToOneProcessAlone) {
  if (!std::filesystem::exists(BATON_MODEL_FILE)) {
    GTEST_SKIP() << "NOT TESTED with the real model: " << BATON_MODEL_FILE
                 << " is missing. Type: examples/reference_engine/fetch_model";
  }
  const auto finished = run_engine_tool({"check", "--model", BATON_MODEL_FILE, "--prompt",
                                         "The capital of France is", "--prefill-tp", "3",
                                         "--decode-tp", "3", "--max-new-tokens", "3", "--quiet"});
  ASSERT_EQ(finished.code, 0) << finished.text;
  EXPECT_NE(finished.text.find("\nEQUAL: "), std::string::npos) << finished.text;
}

}  // namespace
