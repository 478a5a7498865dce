// Geometry: how the rows of one target block map to source rows, and how they are cut into units.
// Pure arithmetic on token positions and heads; it knows no block index and no address.
//
// A row is the bytes of one token of one head. A block visit is the planned tokens [t0, t1) of one
// target block times the sent heads [h0, h1), numbered in the target's order: token-major for
// NHD, head-major for HND.
//
// Thread rule: values.
#pragma once

#include <array>
#include <cstdint>

#include "baton/layout.h"
#include "src/base/limits.h"

namespace baton::kv {

using base::kMaxUnitSources;

// What both layouts of one group say, and the heads that are sent.
struct Geometry {
  TokenOrder target_order = TokenOrder::kNHD;
  // The source's, or the target's where the two are the same (one head held, or one token a block).
  TokenOrder source_order = TokenOrder::kNHD;
  uint32_t target_block_tokens = 0;
  uint32_t source_block_tokens = 0;
  uint32_t target_heads = 0;  // held
  uint32_t source_heads = 0;
  uint32_t sent_heads = 0;
  uint32_t target_head_skip = 0;  // held heads before the first sent one
  uint32_t source_head_skip = 0;
  uint32_t row_bytes = 0;
  uint32_t unit_rows = 0;       // rows of one unit at most, >= 1
  uint32_t row_part_bytes = 0;  // unit_bytes when a row is longer than that, otherwise row_bytes
};

// REQUIRES: both groups are valid and compatible, and hold `heads`, which are not empty.
Geometry make_geometry(const LayerGroup& source, const LayerGroup& target, HeadRange heads,
                       uint32_t unit_bytes);

// A piece of source, by position: its first row, its length, and which of the source's blocks.
struct PieceRows {
  uint64_t row_in_block;  // in the source block's own order
  uint32_t block;         // token position / source_block_tokens
  uint32_t rows;
};

// One unit, by position. Made for BlockWalk::next to fill: its arrays start undefined.
struct UnitRows {
  uint64_t target_row = 0;         // in the target block's own order
  uint32_t part_offset_bytes = 0;  // within the row; not 0 only for later parts of a long row
  uint32_t length_bytes = 0;
  uint32_t last_token = 0;
  uint32_t num_pieces = 0;
  std::array<PieceRows, kMaxUnitSources> pieces;
};

// Steps through the units of one block visit. Allocates nothing; plain data.
class BlockWalk {
 public:
  BlockWalk() = default;
  // REQUIRES: the tokens lie in one target block; rows fit 32 bits.
  BlockWalk(const Geometry& geometry, TokenRange tokens);

  // The next unit of the visit, false at its end.
  bool next(UnitRows& unit);

 private:
  // The longest piece that begins at this token and sent head, to the end of the visit.
  PieceRows piece_at(uint32_t token_index, uint32_t head_index) const;
  // Makes `unit`, which is one long row, its next part.
  void next_part(UnitRows& unit);

  const Geometry* geometry_ = nullptr;
  TokenRange tokens_;
  uint32_t row_ = 0;  // next row of the visit
  uint32_t num_rows_ = 0;
  uint32_t extent_rows_ = 0;
  uint32_t extent_end_ = 0;
  uint32_t part_offset_bytes_ = 0;
};

}  // namespace baton::kv
