#include "src/kv/geometry.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton::kv {

Geometry make_geometry(const LayerGroup& source, const LayerGroup& target, HeadRange heads,
                       uint32_t unit_bytes) {
  const HeadRange shared = shared_heads(source, target);
  BATON_ASSERT(!heads.is_empty() && heads.first >= shared.first && heads.end() <= shared.end(),
               "both sides hold the heads that are sent");
  Geometry g;
  g.target_order = target.order;
  // With one head, or one token a block, both orders put a row at the same place; taking the
  // target's leaves only two kinds of runs to tell apart.
  const bool is_degenerate = source.heads == 1 || source.block_tokens == 1;
  g.source_order = is_degenerate ? target.order : source.order;
  g.target_block_tokens = target.block_tokens;
  g.source_block_tokens = source.block_tokens;
  g.target_heads = target.heads;
  g.source_heads = source.heads;
  g.sent_heads = heads.count;
  g.target_head_skip = heads.first - target.head_first;
  g.source_head_skip = heads.first - source.head_first;
  g.row_bytes = static_cast<uint32_t>(row_bytes(target));
  g.unit_rows = std::max<uint32_t>(1, unit_bytes / g.row_bytes);
  g.row_part_bytes = std::min(unit_bytes, g.row_bytes);
  return g;
}

BlockWalk::BlockWalk(const Geometry& geometry, TokenRange tokens)
    : geometry_(&geometry), tokens_(tokens) {
  const uint32_t num_tokens = tokens.end - tokens.begin;
  num_rows_ = num_tokens * geometry.sent_heads;
  if (geometry.target_order == TokenOrder::kNHD) {
    extent_rows_ = geometry.sent_heads == geometry.target_heads ? num_rows_ : geometry.sent_heads;
  } else {
    extent_rows_ = num_tokens == geometry.target_block_tokens ? num_rows_ : num_tokens;
  }
  extent_end_ = extent_rows_;
}

PieceRows BlockWalk::piece_at(uint32_t token_index, uint32_t head_index) const {
  const Geometry& g = *geometry_;
  const uint32_t token = tokens_.begin + token_index;
  PieceRows piece{};
  piece.block = token / g.source_block_tokens;
  const uint32_t token_in_block = token - piece.block * g.source_block_tokens;
  const uint32_t head = g.source_head_skip + head_index;
  // Tokens from here to the end of the visit that lie in this source block.
  const uint32_t tokens_left =
      std::min(tokens_.end - token, g.source_block_tokens - token_in_block);
  const uint32_t heads_left = g.sent_heads - head_index;
  const bool is_nhd = g.source_order == TokenOrder::kNHD;
  piece.row_in_block = is_nhd ? uint64_t{token_in_block} * g.source_heads + head
                              : uint64_t{head} * g.source_block_tokens + token_in_block;
  if (g.target_order == TokenOrder::kNHD) {
    if (is_nhd) {
      piece.rows = g.sent_heads == g.source_heads ? (tokens_left - 1) * g.sent_heads + heads_left
                                                  : heads_left;
    } else {
      piece.rows = g.sent_heads == 1 ? tokens_left : 1;
    }
  } else {
    const uint32_t num_tokens = tokens_.end - tokens_.begin;
    if (!is_nhd) {
      // Past the last token the next head follows, if the visit is one whole source block.
      const bool is_whole = num_tokens == g.source_block_tokens && token_in_block == token_index;
      piece.rows = is_whole ? (heads_left - 1) * num_tokens + tokens_left : tokens_left;
    } else {
      piece.rows = num_tokens == 1 ? heads_left : 1;
    }
  }
  return piece;
}

void BlockWalk::next_part(UnitRows& unit) {
  const Geometry& g = *geometry_;
  unit.part_offset_bytes = part_offset_bytes_;
  unit.length_bytes = std::min(g.row_part_bytes, g.row_bytes - part_offset_bytes_);
  part_offset_bytes_ += unit.length_bytes;
  if (part_offset_bytes_ < g.row_bytes) return;
  part_offset_bytes_ = 0;
  ++row_;
}

bool BlockWalk::next(UnitRows& unit) {
  if (row_ == num_rows_) return false;
  if (row_ == extent_end_) extent_end_ += extent_rows_;
  const Geometry& g = *geometry_;
  const bool is_nhd = g.target_order == TokenOrder::kNHD;
  // The visit is [outer][inner]: tokens of heads, or heads of tokens.
  const uint32_t inner_count = is_nhd ? g.sent_heads : tokens_.end - tokens_.begin;
  const uint32_t first_outer = row_ / inner_count;
  const uint32_t first_inner = row_ - first_outer * inner_count;
  const uint32_t token_in_block = tokens_.begin % g.target_block_tokens;
  unit.target_row = is_nhd ? uint64_t{token_in_block + first_outer} * g.target_heads +
                                 g.target_head_skip + first_inner
                           : uint64_t{g.target_head_skip + first_outer} * g.target_block_tokens +
                                 token_in_block + first_inner;

  const uint32_t limit = std::min(extent_end_ - row_, g.unit_rows);
  uint32_t taken = 0;
  uint32_t outer = first_outer;
  uint32_t inner = first_inner;
  unit.num_pieces = 0;
  while (taken < limit && unit.num_pieces < kMaxUnitSources) {
    PieceRows& piece = unit.pieces[unit.num_pieces];
    piece = is_nhd ? piece_at(outer, inner) : piece_at(inner, outer);
    piece.rows = std::min(piece.rows, limit - taken);
    taken += piece.rows;
    ++unit.num_pieces;
    inner += piece.rows;
    if (inner >= inner_count) {
      outer += inner / inner_count;
      inner %= inner_count;
    }
  }
  // (outer, inner) is the row after the unit.
  if (is_nhd) {
    unit.last_token = tokens_.begin + (inner > 0 ? outer : outer - 1);
  } else {
    // Passing the end of a head, the unit holds the visit's last token.
    unit.last_token = outer > first_outer ? tokens_.end - 1 : tokens_.begin + inner - 1;
  }
  if (g.row_part_bytes < g.row_bytes) {
    next_part(unit);
    return true;
  }
  unit.part_offset_bytes = 0;
  unit.length_bytes = taken * g.row_bytes;
  row_ += taken;
  return true;
}

}  // namespace baton::kv
