#include "examples/reference_engine/dequantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "examples/reference_engine/number_formats.h"

namespace {

using baton_engine::GgufTensor;
using baton_engine::TensorType;

// 0x4000 is 2.0 and 0xbc00 is -1.0 as IEEE halves.
std::vector<float> dequantize(TensorType type, uint64_t columns,
                              const std::vector<uint8_t>& bytes) {
  GgufTensor tensor;
  tensor.type = type;
  tensor.shape = {columns, 1};
  tensor.bytes = bytes;
  EXPECT_EQ(*baton_engine::tensor_length_bytes(static_cast<uint32_t>(type), tensor.shape),
            bytes.size());
  std::vector<float> out(columns);
  baton_engine::dequantize_row(tensor, 0, out);
  return out;
}

TEST(DequantizeTest, Q4_1IsNibbleTimesScalePlusMinimum) {
  std::vector<uint8_t> bytes = {0x00, 0x40, 0x00, 0xbc};
  for (uint8_t i = 0; i < 16; ++i) bytes.push_back(static_cast<uint8_t>((15 - i) << 4 | i));
  const auto out = dequantize(TensorType::kQ4_1, 32, bytes);
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(out[i], 2.0F * static_cast<float>(i) - 1.0F);
    EXPECT_EQ(out[16 + i], 2.0F * static_cast<float>(15 - i) - 1.0F);
  }
}

TEST(DequantizeTest, Q4_0IsNibbleLessEightTimesScale) {
  std::vector<uint8_t> bytes = {0x00, 0x40};
  for (uint8_t i = 0; i < 16; ++i) bytes.push_back(static_cast<uint8_t>(0xf0 | i));
  const auto out = dequantize(TensorType::kQ4_0, 32, bytes);
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(out[i], 2.0F * (static_cast<float>(i) - 8.0F));
    EXPECT_EQ(out[16 + i], 14.0F);
  }
}

TEST(DequantizeTest, Q8_0IsSignedByteTimesScale) {
  std::vector<uint8_t> bytes = {0x00, 0xbc};
  for (int i = 0; i < 32; ++i) bytes.push_back(static_cast<uint8_t>(i - 16));
  const auto out = dequantize(TensorType::kQ8_0, 32, bytes);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], static_cast<float>(16 - i));
}

TEST(DequantizeTest, PlainTypes) {
  EXPECT_THAT(dequantize(TensorType::kF16, 2, {0x00, 0x40, 0x00, 0xbc}),
              ::testing::ElementsAre(2.0F, -1.0F));
  EXPECT_THAT(dequantize(TensorType::kBF16, 2, {0x80, 0x3f, 0x00, 0xc0}),
              ::testing::ElementsAre(1.0F, -2.0F));
  EXPECT_THAT(dequantize(TensorType::kF32, 1, {0x00, 0x00, 0x80, 0x3f}),
              ::testing::ElementsAre(1.0F));
}

TEST(NumberFormatsTest, HalfCoversSubnormalsAndInfinity) {
  EXPECT_EQ(baton_engine::half_to_float(0x0001), 0x1p-24F);
  EXPECT_EQ(baton_engine::half_to_float(0x8001), -0x1p-24F);
  EXPECT_EQ(baton_engine::half_to_float(0x0400), 0x1p-14F);
  EXPECT_EQ(baton_engine::half_to_float(0x7bff), 65504.0F);
  EXPECT_TRUE(std::isinf(baton_engine::half_to_float(0xfc00)));
  EXPECT_TRUE(std::isnan(baton_engine::half_to_float(0x7e00)));
}

TEST(NumberFormatsTest, BFloat16RoundsToNearestEven) {
  using baton_engine::bfloat16_to_float;
  using baton_engine::float_to_bfloat16;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = bfloat16_to_float(half);
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_bfloat16(value), half);
  }
  EXPECT_EQ(float_to_bfloat16(1.0F + 0x1p-8F), 0x3f80);             // a tie, to even: down
  EXPECT_EQ(float_to_bfloat16(1.0F + 0x3p-8F), 0x3f82);             // a tie, to even: up
  EXPECT_EQ(float_to_bfloat16(1.0F + 0x1p-8F + 0x1p-20F), 0x3f81);  // just above a tie
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(nan))));
}

}  // namespace
