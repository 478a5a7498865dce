#include "baton/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

namespace baton {
namespace {

TEST(StatusTest, DefaultIsOk) {
  const Status status;
  EXPECT_TRUE(status.is_ok());
  EXPECT_EQ(status.code(), StatusCode::kOk);
  EXPECT_EQ(status.to_string(), "OK");
}

TEST(StatusTest, SaysCodeAndMessage) {
  const Status status(StatusCode::kOutOfRange, "block 17 of group 0 lies past the end");
  EXPECT_FALSE(status.is_ok());
  EXPECT_EQ(status.to_string(), "OUT_OF_RANGE: block 17 of group 0 lies past the end");
}

// The numbers travel on the wire and the names are in logs and JSON: neither changes.
TEST(StatusTest, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (uint8_t code = 0; code <= 18; ++code) {
    names.insert(status_code_name(static_cast<StatusCode>(code)));
  }
  EXPECT_EQ(names.size(), 19u);
  EXPECT_EQ(names.count("UNKNOWN"), 0u);
  EXPECT_EQ(status_code_name(static_cast<StatusCode>(200)), "UNKNOWN");
  EXPECT_EQ(static_cast<int>(StatusCode::kInternal), 18);
  EXPECT_EQ(status_code_name(StatusCode::kPeerLost), "PEER_LOST");
}

Status fail_if(bool fail) {
  return fail ? Status(StatusCode::kBusy, "queue is full") : Status::ok();
}

Result<int> two_steps(bool first_fails, bool second_fails) {
  BATON_RETURN_IF_ERROR(fail_if(first_fails));
  BATON_RETURN_IF_ERROR(fail_if(second_fails));
  return 42;
}

TEST(ResultTest, HoldsAValueOrAStatus) {
  EXPECT_EQ(*two_steps(false, false), 42);
  EXPECT_TRUE(two_steps(false, false).status().is_ok());
  EXPECT_EQ(two_steps(true, false).code(), StatusCode::kBusy);
  EXPECT_EQ(two_steps(false, true).status().message(), "queue is full");
}

TEST(ResultTest, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  ASSERT_TRUE(result.is_ok());
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 7);
}

}  // namespace
}  // namespace baton
