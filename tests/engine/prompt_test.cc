#include "examples/reference_engine/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/forward_runs.h"

namespace {

using baton::Status;
using baton::StatusCode;
using baton_engine::encode_prompt;
using baton_engine::PromptOptions;
using baton_test::tiny_model;
using ::testing::HasSubstr;

class PromptTest : public ::testing::Test {
 protected:
  Status status(std::string_view prompt, const PromptOptions& options) {
    const auto tokens = encode_prompt(*model_, prompt, options);
    return tokens.is_ok() ? Status::ok() : tokens.status();
  }

  std::unique_ptr<baton_engine::Model> model_ = tiny_model(51);
};

TEST_F(PromptTest, IsEncodedByteForByte) {
  const auto tokens = encode_prompt(*model_, "h\xC3\xA4\n", {});
  ASSERT_TRUE(tokens.is_ok()) << tokens.status().message();
  // The tiny vocabulary: byte b is token b + 3.
  EXPECT_THAT(*tokens, ::testing::ElementsAre(0x6b, 0xc6, 0xa7, 0x0d));
}

TEST_F(PromptTest, ChatWrapsItInTheTemplate) {
  const auto tokens = encode_prompt(*model_, "hi", {.chat = true});
  ASSERT_TRUE(tokens.is_ok()) << tokens.status().message();
  std::string text;
  for (const uint32_t token : *tokens) {
    text += token < 3 ? "<" + std::to_string(token) + ">"
                      : std::string(1, static_cast<char>(token - 3));
  }
  EXPECT_EQ(text,
            "<1>system\nYou are a tiny model of random weights.<2>\n"
            "<1>user\nhi<2>\n<1>assistant\n");
}

TEST_F(PromptTest, EmptyIsRefused) {
  for (const bool chat : {false, true}) {
    EXPECT_EQ(status("", {.chat = chat}).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(status("", {.chat = chat}).message(), "the prompt is empty");
  }
}

TEST_F(PromptTest, WhatIsNotUtf8IsRefusedWithTheOffsetInTheUsersText) {
  for (const bool chat : {false, true}) {
    for (const std::string_view rest : {"\xFF", "\xC3", "\xED\xA0\x80", "\xC0\xAF", "\xE2\x82 "}) {
      const Status refused = status("ab\xC3\xA4" + std::string(rest), {.chat = chat});
      EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
      EXPECT_THAT(refused.message(), HasSubstr("the prompt"));
      EXPECT_THAT(refused.message(), HasSubstr("not UTF-8"));
      EXPECT_THAT(refused.message(), HasSubstr("offset 4"));
    }
  }
}

TEST_F(PromptTest, PastTheContextIsRefused) {
  EXPECT_TRUE(status(std::string(2040, 'x'), {.max_new_tokens = 8}).is_ok());
  const Status refused = status(std::string(2040, 'x'), {.max_new_tokens = 9});
  EXPECT_EQ(refused.code(), StatusCode::kOutOfRange);
  EXPECT_THAT(
      refused.message(),
      HasSubstr("has 2040 tokens and 9 new ones are asked for; the model's context holds 2048"));
  EXPECT_EQ(status(std::string(2049, 'x'), {}).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(status("x", {.max_new_tokens = UINT32_MAX}).code(), StatusCode::kOutOfRange);
  // The template counts, too.
  EXPECT_EQ(status(std::string(2000, 'x'), {.chat = true}).code(), StatusCode::kOutOfRange);
}

}  // namespace
