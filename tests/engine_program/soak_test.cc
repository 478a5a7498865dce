// Many hand-offs back to back, of which some are cancelled at random points.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine_program/tool.h"
#include "tests/support/test_seed.h"

namespace {

using baton_test::kPrompt;
using baton_test::run_engine_tool;
using testing::HasSubstr;

struct Soak {
  std::string name;
  std::vector<std::string> arguments;
  std::string hand_offs;
};

class EngineSoak : public testing::TestWithParam<Soak> {};

TEST_P(EngineSoak, AllThatAreNotCancelledAreEqual) {
  std::vector<std::string> arguments = {"run",
                                        "--model",
                                        "tiny:7",
                                        "--prompt",
                                        kPrompt,
                                        "--chunk-tokens",
                                        "16",
                                        "--quiet",
                                        "--seed",
                                        std::to_string(baton_test::test_seed()),
                                        "--hand-offs",
                                        GetParam().hand_offs,
                                        "--max-new-tokens",
                                        "2",
                                        "--requests",
                                        "4"};
  arguments.insert(arguments.end(), GetParam().arguments.begin(), GetParam().arguments.end());
  const auto finished = run_engine_tool(arguments);
  EXPECT_EQ(finished.code, 0) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr(", 0 unequal of " + GetParam().hand_offs + "\n"));
}

INSTANTIATE_TEST_SUITE_P(
    Ways, EngineSoak,
    testing::Values(
        Soak{"Push", {"--cancel-percent", "30"}, "200"},
        Soak{"PushAfter", {"--cancel-percent", "30", "--hand-off", "push-after"}, "60"},
        Soak{"Ranks", {"--cancel-percent", "30", "--prefill-tp", "3", "--decode-tp", "3"}, "60"},
        Soak{"Pull", {"--cancel-percent", "30", "--hand-off", "pull"}, "200"},
        Soak{"PullOneToThree",
             {"--cancel-percent", "30", "--hand-off", "pull", "--decode-tp", "3"},
             "60"},
        Soak{"PullThreeToOne",
             {"--cancel-percent", "30", "--hand-off", "pull", "--prefill-tp", "3"},
             "60"},
        Soak{"PullThreeToThree",
             {"--cancel-percent", "30", "--hand-off", "pull", "--prefill-tp", "3", "--decode-tp",
              "3"},
             "60"}),
    [](const auto& instance) { return instance.param.name; });

TEST(EngineSoakEdge, AllAreCancelled) {
  for (const char* hand_off : {"push", "pull"}) {
    const auto finished =
        run_engine_tool({"run", "--model", "tiny:7", "--prompt", kPrompt, "--quiet", "--hand-off",
                         hand_off, "--hand-offs", "20", "--cancel-percent", "100"});
    EXPECT_EQ(finished.code, 0) << finished.text;
    // The prefill process may still have the last one to end, and says so when its peer goes.
    EXPECT_THAT(finished.text, HasSubstr("hand-offs: 0 equal, 20 cancelled, 0 unequal of 20\n"));
  }
}

// Prefill has room for two requests and a bit: it goes on only as the pages of those that were
// given up come back, long before their deadline there.
TEST(EngineSoakEdge, PagesOfPullsThatNobodyTakesUpComeBack) {
  baton_test::ChildProcess prefill(
      baton_test::kEngine,
      {"prefill", "--model", "tiny:7", "--chunk-tokens", "16", "--once", "--quiet", "--errors-only",
       "--deadline-ms", "3600000", "--pool-tokens", std::to_string(kPrompt.size() * 2 + 64)});
  const auto address = prefill.read_line();
  ASSERT_TRUE(address.has_value());
  const auto finished = run_engine_tool({"decode",
                                         "--model",
                                         "tiny:7",
                                         "--prompt",
                                         kPrompt,
                                         "--chunk-tokens",
                                         "16",
                                         "--quiet",
                                         "--connect",
                                         *address,
                                         "--hand-off",
                                         "pull",
                                         "--seed",
                                         std::to_string(baton_test::test_seed()),
                                         "--hand-offs",
                                         "60",
                                         "--cancel-percent",
                                         "60",
                                         "--max-new-tokens",
                                         "2",
                                         "--requests",
                                         "6",
                                         "--deadline-ms",
                                         "30000"});
  EXPECT_EQ(finished.code, 0) << finished.text;
  EXPECT_THAT(finished.text, HasSubstr(", 0 unequal of 60\n"));
}

}  // namespace
