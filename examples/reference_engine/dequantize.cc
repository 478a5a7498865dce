#include "examples/reference_engine/dequantize.h"

#include <cstring>
#include <string>

#include "examples/reference_engine/engine_assert.h"
#include "examples/reference_engine/number_formats.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint64_t kMaxElements = uint64_t{1} << 40;
constexpr size_t kBlockElements = 32;

struct BlockFormat {
  uint64_t elements = 0;  // 0: unknown type
  uint64_t bytes = 0;
};

BlockFormat block_format(uint32_t type) {
  switch (static_cast<TensorType>(type)) {
    case TensorType::kF32:
      return {1, 4};
    case TensorType::kF16:
    case TensorType::kBF16:
      return {1, 2};
    case TensorType::kQ4_0:
      return {kBlockElements, 2 + 16};
    case TensorType::kQ4_1:
      return {kBlockElements, 4 + 16};
    case TensorType::kQ8_0:
      return {kBlockElements, 2 + 32};
  }
  return {};
}

uint16_t load_u16(const uint8_t* from) {
  uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof(bits));
  return bits;
}

// The low nibbles are the first half of the block, the high ones the second.
void dequantize_nibbles(const uint8_t* nibbles, float scale, float offset, float* out) {
  for (size_t i = 0; i < kBlockElements / 2; ++i) {
    out[i] = static_cast<float>(nibbles[i] & 0x0f) * scale + offset;
    out[i + kBlockElements / 2] = static_cast<float>(nibbles[i] >> 4) * scale + offset;
  }
}

void dequantize_block(TensorType type, const uint8_t* block, float* out) {
  const float scale = half_to_float(load_u16(block));
  if (type == TensorType::kQ4_0) {
    dequantize_nibbles(block + 2, scale, -8.0F * scale, out);
  } else if (type == TensorType::kQ4_1) {
    dequantize_nibbles(block + 4, scale, half_to_float(load_u16(block + 2)), out);
  } else {
    for (size_t i = 0; i < kBlockElements; ++i) {
      out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * scale;
    }
  }
}

}  // namespace

Result<uint64_t> tensor_length_bytes(uint32_t type, std::span<const uint64_t> shape) {
  const BlockFormat format = block_format(type);
  if (format.elements == 0) {
    return Status(StatusCode::kInvalidArgument,
                  "type " + std::to_string(type) +
                      " is not one of F32, F16, BF16, Q4_0, Q4_1, Q8_0, which this engine reads");
  }
  uint64_t elements = 1;
  for (const uint64_t extent : shape) {
    if (extent == 0 || extent > kMaxElements / elements) {
      return Status(StatusCode::kInvalidArgument,
                    "a dimension of " + std::to_string(extent) +
                        "; expected >= 1 and at most 2^40 elements in all");
    }
    elements *= extent;
  }
  if (shape.empty() || shape[0] % format.elements != 0) {
    return Status(StatusCode::kInvalidArgument,
                  "its rows are no whole number of blocks of " + std::to_string(format.elements));
  }
  return elements / format.elements * format.bytes;
}

void dequantize_row(const GgufTensor& tensor, uint64_t row, std::span<float> out) {
  ENGINE_ASSERT(row < tensor.rows() && out.size() == tensor.columns());
  const BlockFormat format = block_format(static_cast<uint32_t>(tensor.type));
  const uint64_t row_bytes = tensor.columns() / format.elements * format.bytes;
  const uint8_t* from = tensor.bytes.data() + row * row_bytes;
  switch (tensor.type) {
    case TensorType::kF32:
      std::memcpy(out.data(), from, row_bytes);
      return;
    case TensorType::kF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = half_to_float(load_u16(from + 2 * i));
      return;
    case TensorType::kBF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = bfloat16_to_float(load_u16(from + 2 * i));
      return;
    case TensorType::kQ4_0:
    case TensorType::kQ4_1:
    case TensorType::kQ8_0:
      for (size_t at = 0; at < out.size(); at += kBlockElements, from += format.bytes) {
        dequantize_block(tensor.type, from, out.data() + at);
      }
      return;
  }
}

}  // namespace baton_engine
