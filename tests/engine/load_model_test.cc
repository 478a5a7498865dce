#include "examples/reference_engine/load_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

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

// Opening a named pipe would wait for its writer.
TEST_F(LoadModelTest, NamedPipe) {
  const std::string pipe = folder_.file("pipe.gguf");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto model = load_model(pipe, pool_);
  EXPECT_EQ(model.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(model.status().message(), HasSubstr("pipe.gguf: not a regular file"));
}

// Whoever shortens the file then must not end this process, as it would if the file were mapped.
TEST_F(LoadModelTest, FileCutShortWhileTheWeightsAreMade) {
  write_file(path_, SmallGguf().builder().build());
  const auto model = load_model(path_, pool_, [&](uint64_t /*done*/, uint64_t /*total*/) {
    ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  });
  ASSERT_TRUE(model.is_ok()) << model.status().message();
  EXPECT_THAT((*model)->embedding(4), ::testing::Each(0.5F));
  EXPECT_THAT((*model)->output_norm(), ::testing::Each(0.5F));
}

// What, where and why: the tensor or field, the file and the offset, the bytes needed and there.
TEST_F(LoadModelTest, FileCutShort) {
  const auto whole = SmallGguf().builder().build();
  const auto cut_at = [&](size_t length) {
    return load_status({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)});
  };
  EXPECT_TRUE(cut_at(whole.size()).is_ok());
  const size_t data = whole.size() - 656;  // where the tensors begin; the last has 16 bytes
  EXPECT_EQ(cut_at(whole.size() - 1).message(),
            path_ + ": offset " + std::to_string(data) +
                ": tensor 'output_norm.weight' (16 bytes at 640) needs 16 bytes, the file has "
                "655 more (is it cut short?)");
  EXPECT_EQ(
      cut_at(30).message(),
      path_ + ": offset 24: a metadata key needs 8 bytes, the file has 6 more (is it cut short?)");
  for (const size_t length : {size_t{0}, size_t{3}, size_t{23}, size_t{200}, whole.size() / 2}) {
    const Status status = cut_at(length);
    EXPECT_EQ(status.code(), StatusCode::kOutOfRange);
    EXPECT_THAT(status.message(), HasSubstr(path_ + ": offset "));
  }
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
      // Refused before memory for such weights is asked for.
      {{.layers = 1024, .feed_forward = 1U << 22}, "is 6 x 4; expected 4194304 x 4"},
      {{.without_tensor = "blk.0.ffn_up.weight"}, "tensor 'blk.0.ffn_up.weight' is missing"},
      {{.wrong_tensor = "blk.0.attn_k.weight"}, "is 3 x 4; expected 2 x 4"},
      {{.wrong_tensor = "token_embd.weight"}, "5 tokens for a vocabulary of 6"},
      {{.wrong_tensor = "output_norm.weight"}, "is 2 x 4; expected 1 x 4"},
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
