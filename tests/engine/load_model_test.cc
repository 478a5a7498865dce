#include "examples/reference_engine/load_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/engine/small_gguf.h"
#include "tests/support/temp_dir.h"

namespace {

using baton::Status;
using baton::StatusCode;
using baton_engine::ComputePool;
using baton_engine::load_model;
using baton_test::SmallGguf;
using ::testing::HasSubstr;

void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

class LoadModelTest : public ::testing::Test {
 protected:
  Status load_status(const std::vector<uint8_t>& bytes) {
    write_file(path_, bytes);
    const auto model = load_model(path_, pool_);
    return model.is_ok() ? Status::ok() : model.status();
  }

  ComputePool pool_{2};
  baton_test::TempDir folder_;
  const std::string path_ = folder_.file("model.gguf");
};

TEST_F(LoadModelTest, LoadsAWholeFileAndReportsProgress) {
  write_file(path_, SmallGguf().builder().build());
  uint64_t last_done = 0;
  uint64_t last_total = 0;
  const auto model = load_model(path_, pool_, [&](uint64_t done, uint64_t total) {
    EXPECT_GT(done, last_done);
    last_done = done;
    last_total = total;
  });
  ASSERT_TRUE(model.is_ok()) << model.status().message();
  EXPECT_EQ(last_done, last_total);
  const auto& config = (*model)->config();
  EXPECT_EQ(config.layers, 1U);
  EXPECT_EQ(config.head_dim, 2U);
  EXPECT_EQ(config.vocabulary, 5U);
  EXPECT_THAT((*model)->embedding(4), ::testing::Each(0.5F));
  EXPECT_EQ(*(*model)->tokenizer().encode("ab a<|end|>"), (std::vector<uint32_t>{2, 3, 0, 4}));
}

TEST_F(LoadModelTest, MissingFileAndFolder) {
  auto missing = load_model(folder_.file("none.gguf"), pool_);
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("none.gguf: open failed: No such file"));
  EXPECT_EQ(load_model(folder_.path(), pool_).code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(load_status({}).message(), HasSubstr("is it cut short?"));
}

TEST_F(LoadModelTest, FileCutShort) {
  auto bytes = SmallGguf().builder().build();
  bytes.resize(bytes.size() - 1);
  const Status status = load_status(bytes);
  EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
  EXPECT_THAT(status.message(), HasSubstr(path_));
  EXPECT_THAT(status.message(), HasSubstr("tensor 'output_norm.weight'"));
}

TEST_F(LoadModelTest, OtherModels) {
  struct Case {
    SmallGguf file;
    const char* expected;
  };
  const Case cases[] = {
      {{.architecture = "qwen2"}, "general.architecture is 'qwen2'; this engine runs 'llama'"},
      {{.tokenizer = "llama"}, "tokenizer.ggml.model is 'llama'"},
      {{.pre_tokenizer = "qwen2"}, "tokenizer.ggml.pre is 'qwen2'"},
      {{.heads = 3, .kv_heads = 2}, "3 heads are no multiple of 2 KV heads"},
      {{.heads = 0}, "heads is 0"},
      {{.heads = 4, .kv_heads = 2}, "head size 1 is odd"},
      {{.without_tensor = "blk.0.ffn_up.weight"}, "tensor 'blk.0.ffn_up.weight' is missing"},
      {{.wrong_tensor = "blk.0.attn_k.weight"}, "is 3 x 4; expected 2 x 4"},
      {{.kinds = {1, 1, 1}}, "3 token types for 5 tokens"},
      {{.merges = {"ab"}}, "merge 0 is not two byte-level strings"},
      {{.merges = {"b a"}}, "merge 0 names or makes bytes that are no token"},
      {{.tokens = {"a", "a", "ab", "b", "<|end|>"}}, "token 1 occurs twice"},
      {{.tokens = {"a", "\xE2\x82\xAC", "ab", "b", "<|end|>"}}, "token 1 is not written in byte"},
      {{.tokens = {"a"}, .kinds = {1}, .merges = {}}, "token 4 of 1"},
  };
  for (const Case& wrong : cases) {
    const Status status = load_status(wrong.file.builder().build());
    EXPECT_FALSE(status.is_ok()) << wrong.expected;
    EXPECT_THAT(status.message(), HasSubstr(wrong.expected));
    EXPECT_THAT(status.message(), HasSubstr(path_));
  }
}

TEST_F(LoadModelTest, TinyNames) {
  EXPECT_TRUE(load_model("tiny:7", pool_).is_ok());
  for (const char* name : {"tiny:", "tiny:x", "tiny:1x", "tiny:-1", "tiny:18446744073709551616"}) {
    EXPECT_EQ(load_model(name, pool_).code(), StatusCode::kInvalidArgument) << name;
  }
}

}  // namespace
