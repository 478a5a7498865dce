#include <algorithm>

#include "src/kv/group_plan.h"
#include "src/kv/plan.h"

namespace baton::kv {
namespace {

void fill_sources(const GroupPlan& group, const TensorPlace& place, const UnitRows& rows,
                  Unit& unit) {
  const uint32_t row_bytes = group.geometry.row_bytes;
  for (uint32_t i = 0; i < rows.num_pieces; ++i) {
    const PieceRows& piece = rows.pieces[i];
    const uint64_t block = group.source_blocks[piece.block - group.source_first_block];
    unit.sources[i].offset_bytes = place.offset_bytes + block * place.block_stride_bytes +
                                   piece.row_in_block * row_bytes + rows.part_offset_bytes;
    unit.sources[i].section = place.section;
    unit.sources[i].length_bytes = static_cast<uint32_t>(piece.rows * row_bytes);
  }
  // A part of a long row is one piece, shorter than the row.
  if (rows.num_pieces == 1) unit.sources[0].length_bytes = rows.length_bytes;
  unit.num_sources = rows.num_pieces;
}

}  // namespace

UnitCursor::UnitCursor(const GroupPlan& group, const LayerPlan& layer, TokenRange chunk)
    : group_(&group), layer_(&layer), chunk_(chunk) {
  if (chunk_.is_empty()) {
    tensor_ = group.tensors_per_layer;
    return;
  }
  const uint32_t size = group.geometry.target_block_tokens;
  block_begin_ = chunk_.begin / size - group.target_first_block;
  block_end_ = (chunk_.end - 1) / size - group.target_first_block + 1;
  block_ = block_begin_;
  start_block();
}

void UnitCursor::start_block() {
  const TensorPlace& place = group_->target_places[layer_->first_place + tensor_];
  const TokenRange tokens = tokens_of_block(*group_, group_->target_first_block + block_);
  check_chunk_ = tokens.begin < chunk_.begin || tokens.end > chunk_.end;
  target_base_ = place.offset_bytes + group_->target_blocks[block_] * place.block_stride_bytes;
  walk_ = BlockWalk(group_->geometry, tokens);
}

bool UnitCursor::next_block() {
  if (++block_ == block_end_) {
    block_ = block_begin_;
    if (++tensor_ == group_->tensors_per_layer) return false;
  }
  start_block();
  return true;
}

bool UnitCursor::next(Unit& unit) {
  if (group_ == nullptr || tensor_ == group_->tensors_per_layer) return false;
  UnitRows rows;
  for (;;) {
    if (!walk_.next(rows)) {
      if (!next_block()) return false;
      continue;
    }
    if (!check_chunk_) break;
    if (rows.last_token >= chunk_.begin && rows.last_token < chunk_.end) break;
  }
  const uint32_t place = layer_->first_place + tensor_;
  unit.target_offset_bytes =
      target_base_ + rows.target_row * group_->geometry.row_bytes + rows.part_offset_bytes;
  unit.target_section = group_->target_places[place].section;
  unit.length_bytes = rows.length_bytes;
  unit.layer_ordinal = layer_->ordinal;
  unit.group = group_->index;
  unit.block_position = block_;
  unit.num_sources = 0;
  if (group_->knows_source) fill_sources(*group_, group_->source_places[place], rows, unit);
  return true;
}

}  // namespace baton::kv
