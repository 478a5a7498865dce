#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace baton_perf {
namespace {

using baton_test::run_command;

const char* const kTool = BATON_TOLD_PATH;

// The bars of a quiet machine are no business of a test: they are generous here.
TEST(BatonTold, StrikesAndSaysHowSoonTheSurvivorKnew) {
  baton_test::TempDir dir;
  const std::string path = dir.path() + "/told.json";
  const auto run = run_command(kTool, {"--kills", "6", "--stops", "2", "--kill-bar-ms", "15000",
                                       "--stop-bar-ms", "15000", "--json", path, "--quiet"});
  ASSERT_EQ(run.code, 0) << run.text;
  EXPECT_NE(run.text.find("peer killed"), std::string::npos) << run.text;
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  EXPECT_EQ(json["killed"]["count"], 6) << json.dump(2);
  EXPECT_EQ(json["stopped"]["count"], 2);
  EXPECT_GT(json["killed"]["p50_ms"], 0.0);
  EXPECT_LE(json["killed"]["p50_ms"], json["killed"]["max_ms"]);
  EXPECT_EQ(json["holds"], true);
  EXPECT_TRUE(json["machine"].contains("cpus"));
}

TEST(BatonTold, ABarThatIsMissedIsAFailure) {
  const auto run =
      run_command(kTool, {"--kills", "1", "--stops", "0", "--kill-bar-ms", "0", "--quiet"});
  EXPECT_EQ(run.code, 1) << run.text;
  EXPECT_NE(run.text.find("later than the bar"), std::string::npos) << run.text;
}

TEST(BatonTold, BadInputIsNamed) {
  const auto run = run_command(kTool, {"--deadline-ms", "1"});
  EXPECT_EQ(run.code, 2) << run.text;
  EXPECT_NE(run.text.find("--deadline-ms"), std::string::npos) << run.text;
}

}  // namespace
}  // namespace baton_perf
