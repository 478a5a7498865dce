#include "examples/reference_engine/matrix_product.h"

#include <cblas.h>

#include <algorithm>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {
namespace {

// Small enough that the narrowest layer of a small model feeds several threads; a multiple of the
// width of every OpenBLAS kernel.
constexpr uint32_t kTileColumns = 96;
// The output layer has tens of thousands of columns: fewer, longer tiles.
constexpr uint32_t kWideTileColumns = 768;
constexpr uint32_t kWideOutputs = 16384;

}  // namespace

void use_single_threaded_blas() { openblas_set_num_threads(1); }

void multiply(ComputePool& pool, const float* in, uint32_t rows, const WeightMatrix& weights,
              ProductMode mode, float* out) {
  ENGINE_ASSERT(rows >= 1 && weights.outputs >= 1 && weights.inputs >= 1);
  const uint32_t tile_columns = weights.outputs >= kWideOutputs ? kWideTileColumns : kTileColumns;
  const uint32_t tiles = (weights.outputs + tile_columns - 1) / tile_columns;
  const float beta = mode == ProductMode::kAdd ? 1.0F : 0.0F;
  const auto inputs = static_cast<blasint>(weights.inputs);
  pool.parallel_for(tiles, [&](uint32_t tile) {
    const uint32_t first = tile * tile_columns;
    const auto columns = static_cast<blasint>(std::min(tile_columns, weights.outputs - first));
    const float* tile_weights = weights.data + size_t{first} * weights.inputs;
    if (rows == 1) {
      cblas_sgemv(CblasRowMajor, CblasNoTrans, columns, inputs, 1.0F, tile_weights, inputs, in, 1,
                  beta, out + first, 1);
    } else {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(rows), columns,
                  inputs, 1.0F, in, inputs, tile_weights, inputs, beta, out + first,
                  static_cast<blasint>(weights.outputs));
    }
  });
}

}  // namespace baton_engine
