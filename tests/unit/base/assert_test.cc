#include "src/base/assert.h"

#include <gtest/gtest.h>

#include <string>

namespace baton::base {
namespace {

TEST(AssertTest, PassesWithoutEvaluatingTheMessage) {
  int evaluated = 0;
  const auto message = [&evaluated] {
    ++evaluated;
    return "never needed";
  };
  BATON_ASSERT(evaluated == 0, message());
  EXPECT_EQ(evaluated, 0);
}

TEST(AssertDeathTest, NamesFileConditionAndMessage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const int slots = 3;
  EXPECT_DEATH(BATON_ASSERT(slots == 4, "there are four slots"),
               "assert_test.cc:[0-9]+: assertion failed: slots == 4: there are four slots");
}

TEST(AssertTest, ADcheckThatIsOffIsNotEvaluated) {
  int evaluated = 0;
  BATON_DCHECK(++evaluated > 0, "counts its evaluations");
#if defined(BATON_ENABLE_DCHECK)
  EXPECT_EQ(evaluated, 1);
#else
  EXPECT_EQ(evaluated, 0);
#endif
}

TEST(AssertTest, IsOneStatement) {
  bool reached = false;
  if (reached)
    BATON_ASSERT(false, "not reached");
  else
    reached = true;
  EXPECT_TRUE(reached);
}

}  // namespace
}  // namespace baton::base
