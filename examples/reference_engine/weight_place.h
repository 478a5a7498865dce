// WeightPlace: where a tensor of a model goes: into one buffer, or cut by rows or columns into the
// buffers of the parts that are held.
//
// Thread rule: store_row of different rows from any threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace baton_engine {

class WeightPlace {
 public:
  // Rows [first_row, first_row + rows) and columns [first_column, first_column + columns) of the
  // tensor, dense and row-major at `out`.
  struct Piece {
    float* out = nullptr;
    uint64_t first_row = 0;
    uint64_t rows = 0;
    uint64_t first_column = 0;
    uint64_t columns = 0;
  };

  void add(const Piece& piece) { pieces_.push_back(piece); }
  std::span<const Piece> pieces() const { return pieces_; }

  // False: nobody here reads this row.
  bool holds_row(uint64_t row) const;
  // Copies a whole row of the tensor to where its columns are held.
  void store_row(uint64_t row, std::span<const float> values) const;

 private:
  std::vector<Piece> pieces_;
};

}  // namespace baton_engine
