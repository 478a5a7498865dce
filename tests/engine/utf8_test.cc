#include "examples/reference_engine/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

using baton_engine::find_invalid_utf8;
using baton_engine::Utf8Stream;

TEST(Utf8Test, FindsTheFirstIllFormedByte) {
  EXPECT_EQ(find_invalid_utf8("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("ab\xFF"), 2U);
  EXPECT_EQ(find_invalid_utf8("a\xC3"), 1U);              // cut
  EXPECT_EQ(find_invalid_utf8("\xC0\x80"), 0U);           // overlong
  EXPECT_EQ(find_invalid_utf8("\xE0\x9F\xBF"), 0U);       // overlong
  EXPECT_EQ(find_invalid_utf8("ok\xED\xA0\x80"), 2U);     // surrogate
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0U);   // past U+10FFFF
  EXPECT_EQ(find_invalid_utf8("\xE2\x82 \xE2\x82"), 0U);  // cut by another character
}

TEST(Utf8Test, StreamNeverCutsACharacter) {
  const std::string text = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    Utf8Stream stream;
    std::string joined;
    for (size_t at = 0; at < text.size(); at += piece) {
      const std::string out = stream.push(std::string_view(text).substr(at, piece));
      EXPECT_EQ(find_invalid_utf8(out), std::nullopt);
      joined += out;
    }
    EXPECT_EQ(joined + stream.finish(), text);
  }
}

TEST(Utf8Test, StreamReplacesIllFormedParts) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xFF\xE2\x82"), "a\xEF\xBF\xBD");
  EXPECT_EQ(stream.push("b"),
            "\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(stream.push("\xF0\x9F"), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

}  // namespace
