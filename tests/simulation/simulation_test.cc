// Seeded simulation of hand-offs under faults. Each seed is a test of its own.
//
//   simulation_test [--seeds N] [--from SEED] [--repeat N] [GoogleTest options]
//
//   --seeds N    how many seeds (50)
//   --from SEED  the first one; the others follow it. Without it BATON_TEST_SEED, or a new one
//   --repeat N   runs each seed N times: a replay of what real threads do not repeat every time
#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/simulation/simulation.h"
#include "tests/support/test_main.h"
#include "tests/support/test_seed.h"

namespace baton_test {
namespace {

struct Settings {
  uint64_t seeds = 50;
  uint64_t from = 0;
  uint64_t repeat = 1;
  std::string program;
};
Settings settings;
Tally tally;

class Seeds : public testing::TestWithParam<uint64_t> {
 public:
  // Over many seeds some of everything must have happened, or the checks saw nothing.
  static void TearDownTestSuite() {
    std::printf("%" PRIu64 " grants, %" PRIu64 " transfers; done: %" PRIu64 " and %" PRIu64
                "; %" PRIu64 " grants cancelled, %" PRIu64 " transfers in doubt\n",
                tally.granted, tally.moved, tally.grants_done, tally.transfers_done,
                tally.cancelled, tally.in_doubt);
    if (settings.seeds < 50) return;
    EXPECT_GT(tally.grants_done, tally.granted / 10);
    EXPECT_GT(tally.transfers_done, tally.moved / 10);
    EXPECT_GT(tally.cancelled, 0u);
    EXPECT_GT(tally.in_doubt, 0u);
  }
};

TEST_P(Seeds, KeepThePromises) {
  for (uint64_t round = 0; round < settings.repeat && !HasFailure(); ++round) {
    Simulation simulation(GetParam(), &tally);
    simulation.run();
    if (!HasFailure()) continue;
    std::printf("seed %" PRIu64 ", round %" PRIu64 ":\n%s", GetParam(), round,
                simulation.describe().c_str());
    std::printf("repeat with: %s --seeds 1 --from %" PRIu64 " --repeat 20\n",
                settings.program.c_str(), GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(Simulation, Seeds,
                         testing::Range(settings.from, settings.from + settings.seeds),
                         testing::PrintToStringParamName());

bool take_number(int* i, int argc, char** argv, const char* name, uint64_t* out) {
  const std::string argument = argv[*i];
  const std::string with_equals = std::string(name) + "=";
  if (argument.rfind(with_equals, 0) == 0) {
    *out = std::strtoull(argument.c_str() + with_equals.size(), nullptr, 0);
    return true;
  }
  if (argument != name || *i + 1 >= argc) return false;
  *out = std::strtoull(argv[++*i], nullptr, 0);
  return true;
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  using baton_test::settings;
  settings.program = argv[0];
  settings.from = baton_test::test_seed();
  for (int i = 1; i < argc; ++i) {
    const bool is_ours = baton_test::take_number(&i, argc, argv, "--seeds", &settings.seeds) ||
                         baton_test::take_number(&i, argc, argv, "--from", &settings.from) ||
                         baton_test::take_number(&i, argc, argv, "--repeat", &settings.repeat);
    static_cast<void>(is_ours);  // the others are GoogleTest's
  }
  return baton_test::run_all_tests(argc, argv);
}
