// From GGUF's stored tensor types to float. The block formats are ggml's: 32 values share a scale
// (Q4_0, Q8_0) or a scale and a minimum (Q4_1), each an IEEE half.
#pragma once

#include <cstdint>
#include <span>

#include "baton/status.h"
#include "examples/reference_engine/gguf_file.h"

namespace baton_engine {

// Bytes of a tensor of GGUF type number `type`. kInvalidArgument for a type that the engine does
// not read, a zero dimension, a row that is no whole number of blocks, or more than 2^40 elements.
baton::Result<uint64_t> tensor_length_bytes(uint32_t type, std::span<const uint64_t> shape);

// Row `row` of `tensor` to `out`. REQUIRES: row < tensor.rows() and out.size() == tensor.columns().
void dequantize_row(const GgufTensor& tensor, uint64_t row, std::span<float> out);

}  // namespace baton_engine
