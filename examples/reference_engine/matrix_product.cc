#include "examples/reference_engine/matrix_product.h"

#include <cblas.h>

#include <algorithm>
#include <array>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {
namespace {

// Small enough that the narrowest layer of a small model feeds several threads; a multiple of the
// width of every OpenBLAS kernel.
constexpr uint32_t kTileColumns = 96;
// The output layer has tens of thousands of columns: fewer, longer tiles.
constexpr uint32_t kWideTileColumns = 768;
constexpr uint32_t kWideOutputs = 16384;

uint32_t tile_columns(const Product& product) {
  if (product.tile_columns != 0) return product.tile_columns;
  return product.weights.outputs >= kWideOutputs ? kWideTileColumns : kTileColumns;
}

uint32_t tiles_of(const Product& product) {
  return (product.weights.outputs + tile_columns(product) - 1) / tile_columns(product);
}

void run_tile(const Product& product, uint32_t tile, uint32_t rows) {
  const WeightMatrix& weights = product.weights;
  const uint32_t width = tile_columns(product);
  const uint32_t first = tile * width;
  const auto columns = static_cast<blasint>(std::min(width, weights.outputs - first));
  const auto inputs = static_cast<blasint>(weights.inputs);
  const float* tile_weights = weights.data + size_t{first} * weights.inputs;
  if (rows == 1) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, columns, inputs, 1.0F, tile_weights, inputs,
                product.in, 1, 0.0F, product.out + first, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(rows), columns, inputs,
              1.0F, product.in, static_cast<blasint>(product.in_stride), tile_weights, inputs, 0.0F,
              product.out + first, static_cast<blasint>(product.out_stride));
}

}  // namespace

void use_single_threaded_blas() { openblas_set_num_threads(1); }

void multiply(ComputePool& pool, std::span<const Product> products, uint32_t rows) {
  ENGINE_ASSERT(rows >= 1 && products.size() <= kMaxProducts);
  // Tiles of the products up to and with each.
  std::array<uint32_t, kMaxProducts> end{};
  uint32_t tiles = 0;
  for (size_t i = 0; i < products.size(); ++i) {
    ENGINE_ASSERT(products[i].weights.outputs >= 1 && products[i].weights.inputs >= 1);
    tiles += tiles_of(products[i]);
    end[i] = tiles;
  }
  pool.parallel_for(tiles, [&](uint32_t tile) {
    size_t which = 0;
    while (tile >= end[which]) ++which;
    run_tile(products[which], tile - (which == 0 ? 0 : end[which - 1]), rows);
  });
}

}  // namespace baton_engine
