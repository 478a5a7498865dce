#include "examples/reference_engine/gguf_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/engine/gguf_builder.h"
#include "tests/engine/small_gguf.h"

namespace {

using baton::Status;
using baton::StatusCode;
using baton_engine::GgufFile;
using baton_test::GgufBuilder;
using baton_test::SmallGguf;
using ::testing::HasSubstr;

Status parse_status(const std::vector<uint8_t>& bytes) {
  const auto file = GgufFile::parse(bytes, "model.gguf");
  return file.is_ok() ? Status::ok() : file.status();
}

TEST(GgufFileTest, ReadsEveryKindOfMetadata) {
  GgufBuilder builder;
  builder.add_u32("u32", 4000000000U);
  builder.add_f32("f32", 0.25F);
  builder.add_bool("bool", 1);
  builder.add_string("string", "text");
  builder.add_strings("strings", {"", "two"});
  builder.add_i32s("i32s", {-1, 2});
  builder.add_raw("i8", 1, {0xff});
  const auto bytes = builder.build();
  const auto file = GgufFile::parse(bytes, "model.gguf");
  ASSERT_TRUE(file.is_ok()) << file.status().message();
  EXPECT_EQ(*file->get_unsigned("u32"), 4000000000U);
  EXPECT_EQ(*file->get_float("f32"), 0.25);
  EXPECT_EQ(*file->get_bool("bool"), true);
  EXPECT_EQ(*file->get_string("string"), "text");
  EXPECT_EQ(*file->get_strings("strings"), (GgufFile::StringArray{"", "two"}));
  EXPECT_EQ(*file->get_int32s("i32s"), (std::vector<int32_t>{-1, 2}));
  EXPECT_EQ(file->get_unsigned("i8").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(file->get_unsigned("none").code(), StatusCode::kNotFound);
  EXPECT_THAT(file->get_bool("u32").status().message(), HasSubstr("'u32' is not a bool"));
}

TEST(GgufFileTest, PlacesTensors) {
  GgufBuilder builder;
  builder.add_f32_tensor("one", {3}, {1, 2, 3});
  builder.add_f32_tensor("two", {2, 2}, {4, 5, 6, 7});
  const auto bytes = builder.build();
  const auto file = GgufFile::parse(bytes, "model.gguf");
  ASSERT_TRUE(file.is_ok()) << file.status().message();
  const auto* two = *file->get_tensor("two");
  EXPECT_EQ(two->columns(), 2U);
  EXPECT_EQ(two->rows(), 2U);
  float values[4] = {};
  ASSERT_EQ(two->bytes.size(), sizeof(values));
  std::memcpy(values, two->bytes.data(), sizeof(values));
  EXPECT_THAT(values, ::testing::ElementsAre(4, 5, 6, 7));
}

TEST(GgufFileTest, EveryCutOfAGoodFileIsAnError) {
  const auto bytes = SmallGguf().builder().build();
  ASSERT_TRUE(parse_status(bytes).is_ok()) << parse_status(bytes).message();
  for (size_t length = 0; length < bytes.size(); ++length) {
    // A copy of its own size: an address sanitizer sees a read past the end.
    const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length));
    const Status status = parse_status(cut);
    ASSERT_EQ(status.code(), StatusCode::kOutOfRange) << "cut at " << length;
    ASSERT_THAT(status.message(), HasSubstr("model.gguf: offset "));
  }
}

TEST(GgufFileTest, RefusesOtherFormats) {
  GgufBuilder builder;
  builder.magic = 0x67676a74;
  EXPECT_THAT(parse_status(builder.build()).message(), HasSubstr("not a GGUF file"));
  builder.magic = 0x46554747;
  builder.version = 1;
  EXPECT_THAT(parse_status(builder.build()).message(),
              HasSubstr("GGUF version 1; expected 2 or 3"));
}

TEST(GgufFileTest, RefusesWrongMetadata) {
  struct Case {
    uint32_t type;
    std::vector<uint8_t> bytes;
    const char* expected;
  };
  const std::vector<uint8_t> huge_array = {4,    0,    0,    0,    0xff, 0xff,
                                           0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
  const std::vector<uint8_t> huge_strings = {8,    0,    0,    0,    0xff, 0xff,
                                             0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  const std::vector<uint8_t> nested = {9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
  const Case cases[] = {
      {13, {}, "metadata type 13; expected 0 to 12"},
      {7, {2}, "a bool of 2"},
      {8, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "is it cut short?"},
      {9, huge_array, "an array of 9223372036854775807 numbers needs 18446744073709551615 bytes"},
      {9, huge_strings,
       "an array of 18446744073709551615 strings needs 18446744073709551615 bytes"},
      {9, {4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0}, "numbers needs 20 bytes, the file has 0 more"},
      {9, nested, "an array of type 9"},
  };
  for (const Case& wrong : cases) {
    GgufBuilder builder;
    builder.add_raw("key", wrong.type, wrong.bytes);
    EXPECT_THAT(parse_status(builder.build()).message(), HasSubstr(wrong.expected));
  }
  GgufBuilder twice;
  twice.add_u32("key", 1);
  twice.add_u32("key", 1);
  EXPECT_THAT(parse_status(twice.build()).message(), HasSubstr("'key' occurs twice"));
  GgufBuilder alignment;
  alignment.add_u32("general.alignment", 24);
  EXPECT_THAT(parse_status(alignment.build()).message(), HasSubstr("power of two"));
}

TEST(GgufFileTest, RefusesWrongTensors) {
  struct Case {
    GgufBuilder::Tensor tensor;
    const char* expected;
  };
  const std::vector<uint8_t> bytes(64);
  const Case cases[] = {
      {{"t", {}, 0, bytes}, "has 0 dimensions"},
      {{"t", {1, 1, 1, 1, 1}, 0, bytes}, "has 5 dimensions"},
      {{"t", {4, 0}, 0, bytes}, "a dimension of 0"},
      {{"t", {uint64_t{1} << 63, 4}, 0, bytes}, "at most 2^40 elements"},
      {{"t", {uint64_t{1} << 39, 4}, 0, bytes}, "at most 2^40 elements"},
      {{"t", {uint64_t{1} << 38, 4}, 0, bytes}, "is it cut short?"},
      {{"t", {33}, 3, bytes}, "no whole number of blocks of 32"},
      {{"t", {32}, 14, bytes}, "type 14 is not one of F32"},
      {{"", {4}, 0, bytes}, "a tensor's name of 0 bytes"},
  };
  for (const Case& wrong : cases) {
    GgufBuilder builder;
    builder.add_tensor(wrong.tensor);
    EXPECT_THAT(parse_status(builder.build()).message(), HasSubstr(wrong.expected));
  }
  GgufBuilder twice;
  twice.add_tensor({"t", {4}, 0, std::vector<uint8_t>(16)});
  twice.add_tensor({"t", {4}, 0, std::vector<uint8_t>(16)});
  EXPECT_THAT(parse_status(twice.build()).message(), HasSubstr("tensor 't' occurs twice"));
}

}  // namespace
