// GroupPlan and LayerPlan: what a Plan keeps of one layer group and of one layer.
//
// Thread rule: constant after Plan::create.
#pragma once

#include <cstdint>
#include <vector>

#include "baton/layout.h"
#include "src/kv/geometry.h"

namespace baton::kv {

struct GroupPlan {
  Geometry geometry;
  TokenRange tokens;  // tokens_of_group()
  uint32_t index = 0;
  uint32_t tensors_per_layer = 0;
  uint32_t source_first_block = 0;  // token position / block_tokens of the lists' entry 0
  uint32_t target_first_block = 0;
  bool knows_source = false;
  std::vector<uint32_t> source_blocks;
  std::vector<uint32_t> target_blocks;
  std::vector<TensorPlace> source_places;  // [layer of the group][tensor]
  std::vector<TensorPlace> target_places;
  uint64_t units_per_tensor = 0;
  uint64_t bytes_per_tensor = 0;
};

struct LayerPlan {
  uint32_t group = 0;
  uint32_t ordinal = 0;
  uint32_t number = 0;       // the model's
  uint32_t first_place = 0;  // in the group's places
};

// The planned tokens of a target block. `block` = token position / target_block_tokens.
TokenRange tokens_of_block(const GroupPlan& group, uint32_t block);
// The part of `chunk` that the group plans; {0, 0} when none.
TokenRange clip(const GroupPlan& group, TokenRange chunk);
// Units of one tensor whose last token lies in `range`. REQUIRES: range == clip(group, range). Full
// blocks are alike wherever they begin at the same place of a source block, so that only one period
// of block sizes is walked.
uint64_t count_units(const GroupPlan& group, TokenRange range);

}  // namespace baton::kv
