#include "perf/lib/size.h"

#include <gtest/gtest.h>

namespace baton_perf {
namespace {

TEST(SizeTest, ParsesWhatPeopleWrite) {
  EXPECT_EQ(*parse_size("0"), 0u);
  EXPECT_EQ(*parse_size("4096"), 4096u);
  EXPECT_EQ(*parse_size("17B"), 17u);
  EXPECT_EQ(*parse_size("64KiB"), 65536u);
  EXPECT_EQ(*parse_size("64k"), 65536u);
  EXPECT_EQ(*parse_size("1MiB"), 1u << 20);
  EXPECT_EQ(*parse_size("2G"), uint64_t{2} << 30);
}

TEST(SizeTest, RefusesTheRest) {
  for (const char* text : {"", "KiB", "-1", "1.5M", "1T", "1KB", "1 KiB", "1KiB ", "0x10",
                           "99999999999999999999", "99999999999G"}) {
    const auto size = parse_size(text);
    EXPECT_EQ(size.code(), baton::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(size.status().message().find("is not a size"), std::string::npos);
  }
}

TEST(SizeTest, Formats) {
  EXPECT_EQ(format_size(100), "100 B");
  EXPECT_EQ(format_size(65536), "64 KiB");
  EXPECT_EQ(format_size(uint64_t{3} << 29), "1.5 GiB");
}

}  // namespace
}  // namespace baton_perf
