// De-quantisation to the bit against PyPI's `gguf`: make_reference.py.
#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "examples/reference_engine/dequantize.h"
#include "examples/reference_engine/file_bytes.h"
#include "tests/engine/reference_file.h"

namespace {

using baton_engine::FileBytes;
using baton_engine::GgufFile;
using baton_engine::GgufTensor;
using baton_engine::TensorType;

std::vector<uint8_t> from_hex(const std::string& hex) {
  std::vector<uint8_t> bytes(hex.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

// Every row of `tensor`, as bits.
std::vector<uint32_t> dequantize_bits(const GgufTensor& tensor) {
  std::vector<uint32_t> bits;
  std::vector<float> row(tensor.columns());
  for (uint64_t i = 0; i < tensor.rows(); ++i) {
    baton_engine::dequantize_row(tensor, i, row);
    for (const float value : row) bits.push_back(std::bit_cast<uint32_t>(value));
  }
  return bits;
}

TEST(DequantizeReferenceTest, RandomBlocksOfEveryType) {
  const auto reference = baton_test::read_reference("dequantize.json");
  ASSERT_EQ(reference.at("blocks").size(), 6U);
  for (const auto& example : reference.at("blocks")) {
    const auto name = example.at("name").get<std::string>();
    const auto bytes = from_hex(example.at("bytes").get<std::string>());
    const auto type = example.at("type").get<uint32_t>();
    GgufTensor tensor;
    tensor.type = static_cast<TensorType>(type);
    tensor.shape = {example.at("columns").get<uint64_t>(), example.at("rows").get<uint64_t>()};
    tensor.bytes = bytes;
    const auto length_bytes = baton_engine::tensor_length_bytes(type, tensor.shape);
    ASSERT_TRUE(length_bytes.is_ok()) << name << ": " << length_bytes.status().message();
    ASSERT_EQ(*length_bytes, bytes.size()) << name;
    const auto expected = example.at("bits").get<std::vector<uint32_t>>();
    const auto bits = dequantize_bits(tensor);
    ASSERT_EQ(bits.size(), expected.size()) << name;
    for (size_t i = 0; i < bits.size(); ++i) {
      const auto value = std::bit_cast<float>(bits[i]);
      // Zero has two bit patterns; (8 - 8) * scale and 8 * scale - 8 * scale differ in its sign.
      if (value == 0.0F && std::bit_cast<float>(expected[i]) == 0.0F) continue;
      ASSERT_EQ(bits[i], expected[i]) << name << " value " << i << " is " << value;
    }
  }
}

// The tensors outside the layers, and those of the first and the last layer.
TEST(DequantizeReferenceTest, TensorsOfTheRealModel) {
  if (!baton_test::has_model_file()) GTEST_SKIP() << baton_test::missing_model();
  const auto content = FileBytes::read(BATON_MODEL_FILE);
  ASSERT_TRUE(content.is_ok()) << content.status().message();
  const auto file = GgufFile::parse(content->bytes(), BATON_MODEL_FILE);
  ASSERT_TRUE(file.is_ok()) << file.status().message();
  const auto reference = baton_test::read_reference("dequantize.json");
  ASSERT_EQ(reference.at("tensors").size(), 20U);
  for (const auto& example : reference.at("tensors")) {
    const auto name = example.at("name").get<std::string>();
    const auto tensor = file->get_tensor(name);
    ASSERT_TRUE(tensor.is_ok()) << tensor.status().message();
    EXPECT_EQ((*tensor)->columns(), example.at("columns").get<uint64_t>()) << name;
    EXPECT_EQ((*tensor)->rows(), example.at("rows").get<uint64_t>()) << name;
    const auto bits = dequantize_bits(**tensor);
    uint64_t sum = 0;
    for (size_t i = 0; i < bits.size(); ++i) sum += bits[i] * (2 * uint64_t{i} + 1);
    const auto first = example.at("first_bits").get<std::vector<uint32_t>>();
    EXPECT_EQ(std::vector<uint32_t>(bits.begin(), bits.begin() + 4), first) << name;
    EXPECT_EQ(std::to_string(sum), example.at("weighted_sum").get<std::string>()) << name;
  }
}

}  // namespace
