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
        Soak{"Ranks", {"--cancel-percent", "30", "--prefill-tp", "3", "--decode-tp", "3"}, "60"}),
    [](const auto& instance) { return instance.param.name; });

TEST(EngineSoakEdge, AllAreCancelled) {
  const auto finished = run_engine_tool({"run", "--model", "tiny:7", "--prompt", kPrompt, "--quiet",
                                         "--hand-offs", "20", "--cancel-percent", "100"});
  EXPECT_EQ(finished.code, 0) << finished.text;
  // The prefill process may still have the last one to end, and says so when its peer goes.
  EXPECT_THAT(finished.text, HasSubstr("hand-offs: 0 equal, 20 cancelled, 0 unequal of 20\n"));
}

}  // namespace
