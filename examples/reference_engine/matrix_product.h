// Matrix products with a weight matrix, on OpenBLAS.
//
// The product is cut into tiles of output columns by its shape alone and each tile is one
// single-threaded BLAS call: the same rows, columns and values give the same bits whatever the
// number of threads. A one-row product and one row of a many-row product do differ in their last
// bits. The bits also depend on the CPU model, because OpenBLAS picks its kernels by it.
#pragma once

#include <cstdint>

#include "examples/reference_engine/compute_pool.h"

namespace baton_engine {

// Tells OpenBLAS to leave threading to ComputePool; once per process before the first product.
void use_single_threaded_blas();

// The weights of a linear layer, row-major [outputs][inputs]. Does not own them.
struct WeightMatrix {
  const float* data = nullptr;
  uint32_t outputs = 0;
  uint32_t inputs = 0;
};

enum class ProductMode : uint8_t { kStore, kAdd };

// out[rows][outputs] = (kAdd: out +) in[rows][inputs] x weights^T. Both row-major and dense.
// REQUIRES: rows >= 1, and out overlaps neither.
void multiply(ComputePool& pool, const float* in, uint32_t rows, const WeightMatrix& weights,
              ProductMode mode, float* out);

}  // namespace baton_engine
