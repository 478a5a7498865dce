#include "tests/unit/kv/product_case.h"

#include <algorithm>
#include <utility>

namespace baton_test {
namespace {

using baton::DType;
using baton::GroupKind;
using baton::HeadRange;
using baton::LayerGroup;
using baton::TokenOrder;
using baton::base::Random;

uint32_t pick(Random& random, uint64_t first, uint64_t last) {
  return static_cast<uint32_t>(random.between(first, last));
}

// What all ranks of both sides share.
LayerGroup make_model(Random& random, GroupKind kind, uint32_t tensors, uint32_t first_layer,
                      bool has_long_rows) {
  LayerGroup group;
  group.kind = kind;
  group.tensors_per_layer = tensors;
  group.heads_total = kind == GroupKind::kMlaLatent ? 1 : pick(random, 1, 10);
  if (kind == GroupKind::kSlidingWindow) group.window_tokens = pick(random, 1, 70);
  group.dtype = static_cast<DType>(random.below(6));
  group.head_elements = has_long_rows ? pick(random, 2000, 6000) : pick(random, 1, 24);
  const uint32_t num_layers = pick(random, 1, 2);
  for (uint32_t i = 0; i < num_layers; ++i) group.layers.push_back(first_layer + i * 3);
  return group;
}

std::vector<LayerGroup> make_models(Random& random, ModelShape shape, bool has_long_rows) {
  const auto make = [&](GroupKind kind, uint32_t tensors, uint32_t first_layer) {
    return make_model(random, kind, tensors, first_layer, has_long_rows);
  };
  switch (shape) {
    case ModelShape::kKeysAndValuesApart:
      return {make(GroupKind::kFullAttention, 2, 0)};
    case ModelShape::kKeysAndValuesPacked:
      return {make(GroupKind::kFullAttention, 1, 0)};
    case ModelShape::kSlidingWindow:
      return {make(GroupKind::kSlidingWindow, 2, 0)};
    case ModelShape::kMlaLatent:
      return {make(GroupKind::kMlaLatent, 1, 0)};
    case ModelShape::kLinearState:
      return {make(GroupKind::kLinearState, 2, 0)};
    case ModelShape::kSeveralGroups:
    case ModelShape::kGroupsOfOnePool:
      break;
  }
  return {make(GroupKind::kFullAttention, 2, 0), make(GroupKind::kSlidingWindow, 1, 20),
          make(GroupKind::kMlaLatent, 1, 40), make(GroupKind::kLinearState, 1, 60)};
}

// One side's block size, order and storage, the same on all its ranks but for the block lists.
void add_group(Random& random, const LayerGroup& model, uint32_t ranks, bool replicates,
               TokenOrder order, baton::TokenRange tokens, std::vector<Side>& sides) {
  const uint32_t block_tokens = model.kind == GroupKind::kLinearState ? 1 : pick(random, 1, 32);
  const bool is_interleaved = random.chance(1, 2);
  const std::vector<HeadRange> slices = slice_heads(random, model.heads_total, ranks, replicates);
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    LayerGroup group = model;
    group.order = order;
    group.block_tokens = block_tokens;
    group.head_first = slices[rank].first;
    group.heads = slices[rank].count;
    make_blocks(random, group, tokens, sides[rank]);
    place_tensors(random, is_interleaved, group, sides[rank]);
    sides[rank].layout.groups.push_back(std::move(group));
  }
}

}  // namespace

std::vector<HeadRange> slice_heads(Random& random, uint32_t heads_total, uint32_t ranks,
                                   bool replicates) {
  const uint32_t wanted = replicates ? std::max(1u, ranks / 2) : ranks;
  const uint32_t num_slices = std::min(wanted, heads_total);
  // Even cuts, as engines make them, or any.
  std::vector<uint32_t> cuts;
  for (uint32_t i = 0; i <= num_slices; ++i) cuts.push_back(i * heads_total / num_slices);
  if (random.chance(1, 2)) {
    for (uint32_t i = 1; i < num_slices; ++i) {
      cuts[i] = pick(random, cuts[i - 1] + 1, heads_total - (num_slices - i));
    }
  }
  std::vector<HeadRange> out;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const uint32_t slice = rank * num_slices / ranks;
    uint32_t first = cuts[slice];
    uint32_t end = cuts[slice + 1];
    // A rank that holds more than its slice.
    if (replicates && random.chance(1, 4)) first = pick(random, 0, first);
    if (replicates && random.chance(1, 4)) end = pick(random, end, heads_total);
    out.push_back({first, end - first});
  }
  return out;
}

ClusterCase make_cluster_case(const ClusterAxes& axes, Random& random) {
  ClusterCase c;
  const bool has_long_rows = random.chance(1, 25);
  c.tokens.begin = random.chance(1, 3) ? 0 : pick(random, 0, 80);
  c.tokens.end = c.tokens.begin + pick(random, 1, has_long_rows ? 4 : 70);
  c.unit_bytes = random.chance(1, 2) ? 4096 : pick(random, 4096, 20000);
  for (uint32_t i = 0; i < axes.prefill_ranks; ++i) c.prefill.push_back(make_side(random));
  for (uint32_t i = 0; i < axes.decode_ranks; ++i) c.decode.push_back(make_side(random));
  for (const LayerGroup& model : make_models(random, axes.shape, has_long_rows)) {
    add_group(random, model, axes.prefill_ranks, axes.prefill_replicates, axes.prefill_order,
              c.tokens, c.prefill);
    add_group(random, model, axes.decode_ranks, axes.decode_replicates, axes.decode_order, c.tokens,
              c.decode);
  }
  if (axes.shape == ModelShape::kGroupsOfOnePool) {
    for (Side& side : c.prefill) share_pool(random, side);
    for (Side& side : c.decode) share_pool(random, side);
  }
  c.chunks = make_chunks(random, c.tokens);
  return c;
}

std::string describe(const ClusterAxes& axes) {
  return "prefill TP " + std::to_string(axes.prefill_ranks) +
         (axes.prefill_replicates ? " replicated " : " ") +
         std::string(token_order_name(axes.prefill_order)) + ", decode TP " +
         std::to_string(axes.decode_ranks) + (axes.decode_replicates ? " replicated " : " ") +
         std::string(token_order_name(axes.decode_order)) + ", shape " +
         std::to_string(static_cast<unsigned>(axes.shape));
}

std::string describe(const ClusterCase& c) {
  std::string text = "tokens [" + std::to_string(c.tokens.begin) + ", " +
                     std::to_string(c.tokens.end) + "), unit_bytes " +
                     std::to_string(c.unit_bytes) + "\n";
  for (const Side& side : c.prefill) text += describe("prefill rank", side);
  for (const Side& side : c.decode) text += describe("decode rank", side);
  return text;
}

}  // namespace baton_test
