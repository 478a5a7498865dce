#include "src/base/environment.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace baton::base {
namespace {

TEST(EnvironmentTest, ReadsTheLogLevel) {
  ::unsetenv("BATON_LOG_LEVEL");
  EXPECT_EQ(log_level_from_environment(), std::nullopt);
  ::setenv("BATON_LOG_LEVEL", "debug", 1);
  EXPECT_EQ(log_level_from_environment(), LogLevel::kDebug);
  ::setenv("BATON_LOG_LEVEL", "off", 1);
  EXPECT_EQ(log_level_from_environment(), LogLevel::kOff);
  ::setenv("BATON_LOG_LEVEL", "loud", 1);
  EXPECT_EQ(log_level_from_environment(), std::nullopt);
  ::setenv("BATON_LOG_LEVEL", "", 1);
  EXPECT_EQ(log_level_from_environment(), std::nullopt);
  ::unsetenv("BATON_LOG_LEVEL");
}

}  // namespace
}  // namespace baton::base
