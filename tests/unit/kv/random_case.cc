#include "tests/unit/kv/random_case.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

namespace baton_test {
namespace {

using baton::DType;
using baton::GroupKind;
using baton::LayerGroup;
using baton::SectionId;
using baton::TokenOrder;
using baton::base::Random;

uint32_t pick(Random& random, uint64_t first, uint64_t last) {
  return static_cast<uint32_t>(random.between(first, last));
}

// Small numbers often, large ones sometimes.
uint32_t pick_skewed(Random& random, uint64_t first, uint64_t last) {
  return pick(random, first, first + random.below(last - first + 1));
}

// What both sides share.
LayerGroup make_model(Random& random) {
  LayerGroup group;
  group.kind = static_cast<GroupKind>(random.chance(2, 3) ? 0 : random.below(4));
  group.heads_total = pick_skewed(random, 1, 8);
  group.tensors_per_layer = pick(random, 1, 2);
  if (group.kind == GroupKind::kSlidingWindow) group.window_tokens = pick_skewed(random, 1, 150);
  if (group.kind == GroupKind::kMlaLatent) group.heads_total = group.tensors_per_layer = 1;
  group.dtype = static_cast<DType>(random.below(6));
  group.head_elements = pick_skewed(random, 1, 64);
  // Rows longer than the smallest unit.
  if (random.chance(1, 12)) group.head_elements = pick(random, 2000, 6000);
  const uint32_t num_layers = pick(random, 1, 3);
  for (uint32_t i = 0; i < num_layers; ++i) group.layers.push_back(i * 7 + 1);
  std::swap(group.layers.front(), group.layers.back());
  return group;
}

// Heads, order and block size of one side.
void specialise(Random& random, LayerGroup& group) {
  group.order = random.chance(1, 2) ? TokenOrder::kNHD : TokenOrder::kHND;
  group.block_tokens = random.chance(1, 2) ? 1u << random.below(7) : pick_skewed(random, 1, 64);
  if (group.kind == GroupKind::kLinearState) group.block_tokens = 1;
  group.heads = random.chance(1, 2) ? group.heads_total : pick(random, 1, group.heads_total);
  group.head_first = pick(random, 0, group.heads_total - group.heads);
}

bool share_head(const LayerGroup& a, const LayerGroup& b) {
  return a.head_first < b.head_first + b.heads && b.head_first < a.head_first + a.heads;
}

}  // namespace

void make_blocks(Random& random, LayerGroup& group, baton::TokenRange tokens, Side& side) {
  const uint32_t needed = blocks_of_group(group, tokens);
  group.num_blocks = needed + pick_skewed(random, 0, 4);
  std::vector<uint32_t> blocks(group.num_blocks);
  std::iota(blocks.begin(), blocks.end(), 0u);
  // Unshuffled lists have neighbours, which units must not join.
  if (random.chance(2, 3)) {
    for (size_t i = blocks.size() - 1; i > 0; --i)
      std::swap(blocks[i], blocks[random.below(i + 1)]);
  }
  blocks.resize(needed);
  side.blocks.push_back(std::move(blocks));
}

void place_tensors(Random& random, bool is_interleaved, LayerGroup& group, Side& side) {
  const size_t count = group.layers.size() * group.tensors_per_layer;
  const uint64_t block = block_bytes(group);
  const uint64_t pad = random.chance(1, 2) ? 0 : random.below(100);
  size_t section = random.below(side.section_bytes.size());
  uint64_t shared_base = side.section_bytes[section] + random.below(50);
  for (size_t i = 0; i < count; ++i) {
    baton::TensorPlace at;
    if (is_interleaved) {
      at.block_stride_bytes = block * count + pad;
      at.offset_bytes = shared_base + block * i;
    } else {
      section = random.below(side.section_bytes.size());
      at.block_stride_bytes = block + pad;
      at.offset_bytes = side.section_bytes[section] + random.below(20);
    }
    at.section = SectionId(static_cast<uint32_t>(section) + 1);
    const uint64_t end = at.offset_bytes + tensor_span_bytes(group, at);
    side.section_bytes[section] = std::max(side.section_bytes[section], end);
    group.places.push_back(at);
  }
}

void share_pool(Random& random, Side& side) {
  const uint64_t pad = random.chance(1, 2) ? 0 : random.below(100);
  uint64_t page_bytes = 0;
  size_t pages = random.below(5);
  for (size_t g = 0; g < side.layout.groups.size(); ++g) {
    const LayerGroup& group = side.layout.groups[g];
    page_bytes = std::max(page_bytes, block_bytes(group) * group.places.size() + pad);
    pages += side.blocks[g].size();
  }
  std::vector<uint32_t> free(pages);
  std::iota(free.begin(), free.end(), 0u);
  for (size_t i = free.size() - 1; i > 0; --i) std::swap(free[i], free[random.below(i + 1)]);

  const size_t section = random.below(side.section_bytes.size());
  const uint64_t base = random.below(50);
  side.section_bytes.assign(side.section_bytes.size(), 1);
  side.section_bytes[section] = base + page_bytes * pages;
  for (size_t g = 0; g < side.layout.groups.size(); ++g) {
    LayerGroup& group = side.layout.groups[g];
    group.num_blocks = static_cast<uint32_t>(pages);
    for (uint32_t& block : side.blocks[g]) {
      block = free.back();
      free.pop_back();
    }
    for (size_t i = 0; i < group.places.size(); ++i) {
      group.places[i] = {SectionId(static_cast<uint32_t>(section) + 1),
                         base + block_bytes(group) * i, page_bytes};
    }
  }
}

Side make_side(Random& random) {
  Side side;
  side.section_bytes.assign(random.between(1, 3), 1);
  return side;
}

std::vector<baton::TokenRange> make_chunks(Random& random, baton::TokenRange tokens) {
  std::vector<uint32_t> cuts = {tokens.begin, tokens.end};
  const uint64_t num_cuts = random.below(6);
  for (uint64_t i = 0; i < num_cuts; ++i) cuts.push_back(pick(random, tokens.begin, tokens.end));
  std::sort(cuts.begin(), cuts.end());
  std::vector<baton::TokenRange> chunks;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) chunks.push_back({cuts[i], cuts[i + 1]});
  return chunks;
}

std::string describe(const char* name, const Side& side) {
  std::string text;
  for (const LayerGroup& g : side.layout.groups) {
    text += std::string(name) + ": " + std::string(group_kind_name(g.kind)) + " " +
            std::string(token_order_name(g.order)) + ", " + std::to_string(g.block_tokens) +
            " tokens/block, heads [" + std::to_string(g.head_first) + ", " +
            std::to_string(g.head_first + g.heads) + ") of " + std::to_string(g.heads_total) +
            ", row " + std::to_string(row_bytes(g)) + " bytes, window " +
            std::to_string(g.window_tokens) + ", " + std::to_string(g.layers.size()) +
            " layers x " + std::to_string(g.tensors_per_layer) + " tensors\n";
  }
  return text;
}

RandomCase make_random_case(Random& random) {
  RandomCase c;
  c.tokens.begin = random.chance(1, 3) ? 0 : pick_skewed(random, 0, 150);
  c.tokens.end = c.tokens.begin + pick_skewed(random, 1, 200);
  c.unit_bytes = random.chance(1, 2) ? 4096 : pick(random, 4096, 20000);
  c.source = make_side(random);
  c.target = make_side(random);
  const uint64_t num_groups = random.between(1, 3);
  for (uint64_t i = 0; i < num_groups; ++i) {
    LayerGroup source = make_model(random);
    LayerGroup target = source;
    do {
      specialise(random, source);
      specialise(random, target);
    } while (!share_head(source, target));
    if (random.chance(1, 3)) target.block_tokens = source.block_tokens;
    make_blocks(random, source, c.tokens, c.source);
    make_blocks(random, target, c.tokens, c.target);
    place_tensors(random, random.chance(1, 3), source, c.source);
    place_tensors(random, random.chance(1, 3), target, c.target);
    c.source.layout.groups.push_back(std::move(source));
    c.target.layout.groups.push_back(std::move(target));
  }
  c.chunks = make_chunks(random, c.tokens);
  return c;
}

void restrict_heads(Random& random, RandomCase& c) {
  const size_t num_groups = c.target.layout.groups.size();
  c.heads.assign(num_groups, {});
  const uint64_t kept = random.below(num_groups);  // one group at least sends something
  for (size_t g = 0; g < num_groups; ++g) {
    if (g != kept && random.chance(1, 4)) continue;
    const LayerGroup& source = c.source.layout.groups[g];
    const LayerGroup& target = c.target.layout.groups[g];
    const uint32_t first = std::max(source.head_first, target.head_first);
    const uint32_t end =
        std::min(source.head_first + source.heads, target.head_first + target.heads);
    const uint32_t from = pick(random, first, end - 1);
    c.heads[g] = {from, pick(random, 1, end - from)};
  }
}

std::string describe(const RandomCase& c) {
  std::string heads;
  for (const baton::HeadRange& range : c.heads) {
    heads += " [" + std::to_string(range.first) + ", " + std::to_string(range.end()) + ")";
  }
  return "tokens [" + std::to_string(c.tokens.begin) + ", " + std::to_string(c.tokens.end) +
         "), unit_bytes " + std::to_string(c.unit_bytes) +
         ", heads sent:" + (c.heads.empty() ? " all" : heads) + "\n" +
         describe("source", c.source) + describe("target", c.target);
}

}  // namespace baton_test
