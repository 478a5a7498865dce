#include "examples/reference_engine/weight_place.h"

#include <algorithm>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {

namespace {

bool has_row(const WeightPlace::Piece& piece, uint64_t row) {
  return row >= piece.first_row && row - piece.first_row < piece.rows;
}

}  // namespace

bool WeightPlace::holds_row(uint64_t row) const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [row](const Piece& piece) { return has_row(piece, row); });
}

void WeightPlace::store_row(uint64_t row, std::span<const float> values) const {
  for (const Piece& piece : pieces_) {
    if (!has_row(piece, row)) continue;
    ENGINE_ASSERT(piece.first_column + piece.columns <= values.size());
    const std::span<const float> part = values.subspan(piece.first_column, piece.columns);
    std::copy(part.begin(), part.end(), piece.out + (row - piece.first_row) * piece.columns);
  }
}

}  // namespace baton_engine
