#include "examples/reference_engine/report_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace {

using baton_engine::clean_text;
using baton_engine::format_bytes;
using baton_engine::format_count;
using baton_engine::format_count_of;
using baton_engine::format_ms;
using baton_engine::format_share;
using baton_engine::model_name;

const std::string kReplaced = "\xef\xbf\xbd";

TEST(ReportFormatTest, Counts) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(12'345'678), "12,345,678");
  EXPECT_EQ(format_count(UINT64_MAX), "18,446,744,073,709,551,615");
  EXPECT_EQ(format_count_of(0, "chunk"), "0 chunks");
  EXPECT_EQ(format_count_of(1, "chunk"), "1 chunk");
  EXPECT_EQ(format_count_of(1000, "chunk"), "1,000 chunks");
}

TEST(ReportFormatTest, Milliseconds) {
  EXPECT_EQ(format_ms(0), "0.000");
  EXPECT_EQ(format_ms(0.0421), "0.042");
  EXPECT_EQ(format_ms(1.234), "1.23");
  EXPECT_EQ(format_ms(9.994), "9.99");
  EXPECT_EQ(format_ms(9.996), "10.0");
  EXPECT_EQ(format_ms(99.94), "99.9");
  EXPECT_EQ(format_ms(99.96), "100");
  EXPECT_EQ(format_ms(-1304.2), "-1,304");
  EXPECT_EQ(format_ms(-0.5), "-0.500");
  EXPECT_EQ(format_ms(std::numeric_limits<double>::infinity()), "?");
  EXPECT_EQ(format_ms(std::nan("")), "?");
}

TEST(ReportFormatTest, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 bytes");
  EXPECT_EQ(format_bytes(999), "999 bytes");
  EXPECT_EQ(format_bytes(1000), "1.0 KB");
  EXPECT_EQ(format_bytes(771'840), "772 KB");
  EXPECT_EQ(format_bytes(999'600), "1.0 MB");
  EXPECT_EQ(format_bytes(23'592'960), "23.6 MB");
  EXPECT_EQ(format_bytes(5'000'000'000'000'000), "5000 TB");
}

// What is not all is never written as all.
TEST(ReportFormatTest, Shares) {
  EXPECT_EQ(format_share(1), "100.0 %");
  EXPECT_EQ(format_share(0.99996), "99.9 %");
  EXPECT_EQ(format_share(0.9), "90.0 %");
  EXPECT_EQ(format_share(0), "0.0 %");
  EXPECT_EQ(format_share(-0.25), "-25.0 %");
  EXPECT_EQ(format_share(std::nan("")), "?");
}

TEST(ReportFormatTest, CleanText) {
  EXPECT_EQ(clean_text("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(clean_text("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"),
            "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
  EXPECT_EQ(clean_text("\x1b[2J\r\x7f"), kReplaced + "[2J" + kReplaced + kReplaced);
  EXPECT_EQ(clean_text("a\xff"
                       "b\xe2\x80"),
            "a" + kReplaced + "b" + kReplaced);
  EXPECT_EQ(clean_text("\xef\xbf\xbe\xef\xbf\xbf\xef\xbf\xbd"), kReplaced + kReplaced + kReplaced);
  EXPECT_EQ(clean_text(""), "");
}

TEST(ReportFormatTest, ModelName) {
  EXPECT_EQ(model_name("build/model/SmolLM2.Q4_1.gguf"), "SmolLM2.Q4_1");
  EXPECT_EQ(model_name("tiny:7"), "tiny:7");
  EXPECT_EQ(model_name("/a/.gguf"), ".gguf");
  EXPECT_EQ(model_name(""), "");
}

}  // namespace
