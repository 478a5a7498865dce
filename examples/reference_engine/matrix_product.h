// Matrix products with a weight matrix, on OpenBLAS.
//
// A product is cut into tiles of output columns by its shape alone and each tile is one
// single-threaded BLAS call: the same rows, columns, strides and values give the same bits whatever
// the number of threads and whatever other products run beside it. A one-row product and one row of
// a many-row product do differ in their last bits. The bits also depend on the CPU model, because
// OpenBLAS picks its kernels by it.
#pragma once

#include <cstdint>
#include <span>

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

// out[rows][outputs] = in[rows][inputs] x weights^T; both row-major, with strides in floats.
struct Product {
  const float* in = nullptr;
  uint32_t in_stride = 0;
  WeightMatrix weights;
  float* out = nullptr;
  uint32_t out_stride = 0;
  // Columns of a tile; 0: by the shape. With as many as a head has, a head's bits do not depend on
  // how many heads are computed at once.
  uint32_t tile_columns = 0;
};

inline constexpr size_t kMaxProducts = 16;

// All products at once, so that narrow ones feed several threads. REQUIRES: rows >= 1, at most
// kMaxProducts of them, none empty, and no out overlaps anything else.
void multiply(ComputePool& pool, std::span<const Product> products, uint32_t rows);

}  // namespace baton_engine
