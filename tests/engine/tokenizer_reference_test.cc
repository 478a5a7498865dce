// The tokenizer against PyPI's `tokenizers` on the real vocabulary: make_reference.py.
#include <gtest/gtest.h>

#include <optional>

#include "examples/reference_engine/file_bytes.h"
#include "examples/reference_engine/load_tokenizer.h"
#include "examples/reference_engine/utf8.h"
#include "tests/engine/reference_file.h"

namespace {

using baton_engine::Tokenizer;

class TokenizerReferenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!baton_test::has_model_file()) GTEST_SKIP() << baton_test::missing_model();
    const auto content = baton_engine::FileBytes::read(BATON_MODEL_FILE);
    ASSERT_TRUE(content.is_ok()) << content.status().message();
    const auto file = baton_engine::GgufFile::parse(content->bytes(), BATON_MODEL_FILE);
    ASSERT_TRUE(file.is_ok()) << file.status().message();
    auto tokenizer = baton_engine::load_tokenizer(*file);
    ASSERT_TRUE(tokenizer.is_ok()) << tokenizer.status().message();
    tokenizer_.emplace(std::move(*tokenizer));
    reference_ = baton_test::read_reference("tokenizer.json");
  }

  std::optional<Tokenizer> tokenizer_;
  nlohmann::json reference_;
};

TEST_F(TokenizerReferenceTest, EncodesAndDecodesEveryText) {
  ASSERT_GE(reference_.at("cases").size(), 80U);
  for (const auto& example : reference_.at("cases")) {
    const auto text = example.at("text").get<std::string>();
    const auto ids = example.at("ids").get<std::vector<uint32_t>>();
    const auto encoded = tokenizer_->encode(text);
    ASSERT_TRUE(encoded.is_ok()) << example.at("name") << ": " << encoded.status().message();
    EXPECT_EQ(*encoded, ids) << example.at("name");
    EXPECT_EQ(tokenizer_->decode(ids), example.at("decoded").get<std::string>())
        << example.at("name");
    // Token by token, as it is printed: no character is ever cut.
    baton_engine::Utf8Stream stream;
    std::string printed;
    for (const uint32_t id : ids) {
      const std::string part = stream.push(tokenizer_->text_bytes(id));
      EXPECT_EQ(baton_engine::find_invalid_utf8(part), std::nullopt) << example.at("name");
      printed += part;
    }
    EXPECT_EQ(printed + stream.finish(), tokenizer_->decode(ids));
  }
}

TEST_F(TokenizerReferenceTest, ChatIsTheModelsOwnTemplate) {
  for (const auto& example : reference_.at("chats")) {
    const auto text = tokenizer_->wrap_chat(example.at("prompt").get<std::string>());
    ASSERT_TRUE(text.is_ok()) << text.status().message();
    EXPECT_EQ(*text, example.at("text").get<std::string>());
    EXPECT_EQ(*tokenizer_->encode(*text), example.at("ids").get<std::vector<uint32_t>>());
  }
}

}  // namespace
