#include <gmock/gmock.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/support/test_main.h"
#include "tests/support/test_seed.h"

namespace {

class PrintSeedOnFailure : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo& info) override {
    if (info.result()->Failed()) {
      std::printf("repeat with: BATON_TEST_SEED=%" PRIu64 "\n", baton_test::test_seed());
    }
  }
};

// One program may be several entries of ctest: each writes a report of its own.
void name_report() {
  const char* const entry = std::getenv("BATON_TEST_ENTRY");
  const std::string folder = GTEST_FLAG_GET(output);
  if (entry != nullptr && !folder.empty() && folder.back() == '/')
    GTEST_FLAG_SET(output, folder + entry + ".xml");
}

}  // namespace

namespace baton_test {

int run_all_tests(int argc, char** argv) {
  name_report();
  testing::InitGoogleMock(&argc, argv);
  std::printf("BATON_TEST_SEED=%" PRIu64 "\n", test_seed());
  // Children that are forked print their own lines, not a copy of ours.
  std::fflush(stdout);
  testing::UnitTest::GetInstance()->listeners().Append(new PrintSeedOnFailure);
  return RUN_ALL_TESTS();
}

}  // namespace baton_test
