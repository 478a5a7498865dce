#include "examples/reference_engine/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "examples/reference_engine/load_tokenizer.h"
#include "examples/reference_engine/tiny_model.h"
#include "examples/reference_engine/utf8.h"
#include "tests/support/test_seed.h"

namespace {

using baton::StatusCode;
using baton_engine::Tokenizer;
using baton_engine::TokenKind;
using baton_engine::Vocabulary;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The bytes a, b, c and space, and a few merges of different rank.
Vocabulary small_vocabulary() {
  Vocabulary vocabulary;
  vocabulary.tokens = {"a", "b", "c", " ", "ab", "bc", "abc", " a", "<s>", "<s>>", "cc"};
  vocabulary.kinds.assign(vocabulary.tokens.size(), TokenKind::kNormal);
  vocabulary.kinds[8] = TokenKind::kSpecial;
  vocabulary.kinds[9] = TokenKind::kSpecial;
  vocabulary.merges = {{"b", "c"}, {"a", "b"}, {"a", "bc"}, {"c", "c"}};
  return vocabulary;
}

std::vector<uint32_t> encode(const Tokenizer& tokenizer, std::string_view text) {
  auto tokens = tokenizer.encode(text);
  EXPECT_TRUE(tokens.is_ok()) << tokens.status().message();
  return tokens.is_ok() ? *tokens : std::vector<uint32_t>();
}

TEST(TokenizerTest, MergesByRankThenFromTheLeft) {
  const auto tokenizer = Tokenizer::create(small_vocabulary());
  ASSERT_TRUE(tokenizer.is_ok()) << tokenizer.status().message();
  EXPECT_THAT(encode(*tokenizer, "abc"), ElementsAre(6));  // b c first, then a bc
  EXPECT_THAT(encode(*tokenizer, "abab"), ElementsAre(4, 4));
  EXPECT_THAT(encode(*tokenizer, "ccc"), ElementsAre(10, 2));  // the left pair of two equal ones
  EXPECT_THAT(encode(*tokenizer, "bcc"), ElementsAre(5, 2));
  EXPECT_THAT(encode(*tokenizer, ""), ElementsAre());
}

TEST(TokenizerTest, TakesTheLongestSpecialToken) {
  const auto tokenizer = Tokenizer::create(small_vocabulary());
  ASSERT_TRUE(tokenizer.is_ok());
  EXPECT_THAT(encode(*tokenizer, "a<s>>b<s>"), ElementsAre(0, 9, 1, 8));
  EXPECT_EQ(tokenizer->decode(std::vector<uint32_t>{0, 9, 1, 8}), "ab");
}

TEST(TokenizerTest, SaysWhichByteIsWrong) {
  const auto tokenizer = Tokenizer::create(small_vocabulary());
  ASSERT_TRUE(tokenizer.is_ok());
  const auto invalid = tokenizer->encode("ab\xFF");
  EXPECT_EQ(invalid.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(invalid.status().message(), HasSubstr("not UTF-8: byte 0xff at offset 2"));
  EXPECT_THAT(tokenizer->encode("abz").status().message(),
              HasSubstr("no token for byte 0x7a at offset 2"));
  EXPECT_EQ(tokenizer->wrap_chat("a").code(), StatusCode::kUnavailable);
}

TEST(TokenizerTest, RefusesWrongVocabularies) {
  Vocabulary none;
  EXPECT_THAT(Tokenizer::create(none).status().message(), HasSubstr("0 tokens"));
  Vocabulary kinds = small_vocabulary();
  kinds.kinds.pop_back();
  EXPECT_THAT(Tokenizer::create(kinds).status().message(), HasSubstr("10 token kinds for 11"));
  Vocabulary merge = small_vocabulary();
  merge.merges.push_back({"c", "a"});
  EXPECT_THAT(Tokenizer::create(merge).status().message(), HasSubstr("merge 4"));
  Vocabulary empty = small_vocabulary();
  empty.tokens[0].clear();
  EXPECT_THAT(Tokenizer::create(empty).status().message(), HasSubstr("token 0 is empty"));
  Vocabulary end = small_vocabulary();
  end.end_of_sequence = 11;
  EXPECT_THAT(Tokenizer::create(end).status().message(), HasSubstr("token 11 of 11"));
}

TEST(TokenizerTest, EveryTextComesBackByteForByte) {
  const auto model = baton_engine::make_tiny_model(1);
  ASSERT_TRUE(model.is_ok());
  const Tokenizer& tokenizer = (*model)->tokenizer();
  std::mt19937_64 random(baton_test::test_seed());
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (uint64_t i = random() % 60; i > 0; --i) text += static_cast<char>(random() % 256);
    baton_engine::Utf8Stream stream;  // makes it well-formed
    text = stream.push(text);
    EXPECT_EQ(tokenizer.decode(encode(tokenizer, text)), text);
  }
}

TEST(PreTokenizerTest, CutsAsStated) {
  const auto split = baton_engine::PreTokenizer::create();
  ASSERT_TRUE(split.is_ok()) << split.status().message();
  EXPECT_THAT(split->split("I'll go  12 km"),
              ElementsAre("I", "'ll", " go", "  ", "1", "2", " km"));
  EXPECT_THAT(split->split("a   b"), ElementsAre("a", "  ", " b"));
  EXPECT_THAT(split->split("x\xC2\xB2!? \n"), ElementsAre("x", "\xC2\xB2", "!?", " \n"));
  EXPECT_THAT(split->split(""), ElementsAre());
}

// White space is Unicode's White_Space, as in the model's own tokenizer: neither less nor more.
TEST(PreTokenizerTest, KnowsWhiteSpaceFromSigns) {
  const auto split = baton_engine::PreTokenizer::create();
  ASSERT_TRUE(split.is_ok()) << split.status().message();
  const std::vector<std::string> spaces = {
      "\t",           "\n",           "\v",           "\f",           "\r",
      "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
      "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
      "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
      "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
  for (const std::string& space : spaces) {
    const std::string text = "!" + space + "!";
    EXPECT_THAT(split->split(text), ElementsAre("!", space, "!"));
  }
  // Controls, U+180E, U+200B, U+2060 and U+FEFF.
  for (const std::string sign :
       {"\x1C", "\x1F", "\x08", "\xE1\xA0\x8E", "\xE2\x80\x8B", "\xE2\x81\xA0", "\xEF\xBB\xBF"}) {
    const std::string text = "!" + sign + "!";
    EXPECT_THAT(split->split(text), ElementsAre(text));
  }
}

// Runs far longer than a match's limits on depth and heap would allow, were they spent per
// character.
TEST(PreTokenizerTest, LongRunsStayWhole) {
  const auto split = baton_engine::PreTokenizer::create();
  ASSERT_TRUE(split.is_ok()) << split.status().message();
  constexpr size_t kLength = 1 << 20;
  for (const std::string_view unit : {"a", "\xC3\xA4", "!", "\xE2\x82\xAC", " ", "\xE3\x80\x80"}) {
    std::string run;
    while (run.size() < kLength) run += unit;
    EXPECT_THAT(split->split(run), ElementsAre(run)) << unit;
    // A run of white space leaves its last character to what follows; other runs end before it.
    const std::string longer = run + " x";
    EXPECT_THAT(split->split(longer), ElementsAre(run, " x")) << unit;
  }
  const std::string digits(1 << 14, '7');
  EXPECT_EQ(split->split(digits).size(), digits.size());
}

TEST(LoadTokenizerTest, PrintableBytesAreABijection) {
  EXPECT_EQ(baton_engine::from_printable_bytes("a\xC4\xA0"
                                               "b\xC4\x8A"),
            "a b\n");
  EXPECT_EQ(baton_engine::from_printable_bytes("\xC5\x83"), "\xAD");  // U+0143, the last
  EXPECT_EQ(baton_engine::from_printable_bytes("\xC5\x84"), std::nullopt);
  EXPECT_EQ(baton_engine::from_printable_bytes(" "), std::nullopt);
}

TEST(LoadTokenizerTest, FindsTheSystemPromptOfAChatTemplate) {
  using baton_engine::find_system_prompt;
  EXPECT_EQ(find_system_prompt("{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}"), "Be kind");
  EXPECT_EQ(find_system_prompt("{{ '<|im_start|>system\\nBe kind<|im_end|>\\n' }}"), "Be kind");
  EXPECT_EQ(find_system_prompt("{{ '<|im_start|>system\n' + system + '<|im_end|>' }}"),
            std::nullopt);
  EXPECT_EQ(find_system_prompt("[INST] {{ prompt }} [/INST]"), std::nullopt);
}

}  // namespace
