// Two layouts, block lists and a token range from arbitrary bytes, as a peer could send them:
// validate and plan must end without a crash, and what a Plan yields must lie inside the layouts
// that were validated.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "baton/layout.h"
#include "src/kv/plan.h"

namespace {

using baton::LayerGroup;
using baton::Layout;

// Steps of one input; larger plans are for the unit tests.
constexpr uint64_t kMaxRows = 1 << 14;
constexpr uint32_t kMaxUnits = 1 << 14;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool is_empty() const { return at_ == size_; }
  uint8_t byte() { return at_ < size_ ? data_[at_++] : 0; }
  uint64_t wide() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return value;
  }
  // Mostly a small number, so that valid layouts are common; sometimes any, or next to a power
  // of 2.
  uint64_t number() {
    const uint8_t kind = byte();
    if (kind < 0xe0) return kind % 9;
    if (kind < 0xf0) return (uint64_t{1} << (byte() % 64)) - (kind & 1);
    return kind < 0xf8 ? byte() : wide();
  }
  uint32_t number32() { return static_cast<uint32_t>(number()); }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

LayerGroup read_group(Input& in) {
  LayerGroup group;
  group.kind = static_cast<baton::GroupKind>(in.byte() & 7);
  group.block_tokens = in.number32();
  group.window_tokens = in.number32();
  group.heads_total = in.number32();
  group.head_first = in.number32();
  group.heads = in.number32();
  group.head_elements = in.number32();
  group.dtype = static_cast<baton::DType>(in.byte() & 7);
  group.order = static_cast<baton::TokenOrder>(in.byte() % 3);
  group.tensors_per_layer = in.number32();
  group.num_blocks = in.number32();
  const uint8_t layers = in.byte() % 4;
  for (uint8_t i = 0; i < layers; ++i) group.layers.push_back(i);
  const uint8_t places = in.byte() % 8;
  for (uint8_t i = 0; i < places; ++i) {
    baton::TensorPlace place;
    place.section = baton::SectionId(in.byte() & 3u);
    place.offset_bytes = in.number();
    place.block_stride_bytes = in.number();
    group.places.push_back(place);
  }
  return group;
}

// The other side: one that matches but for block size, order, heads and places; or anything.
LayerGroup read_other(Input& in, const LayerGroup& source) {
  if (in.byte() < 32) return read_group(in);
  LayerGroup group = source;
  group.block_tokens = in.number32();
  group.head_first = in.number32();
  group.heads = in.number32();
  group.order = static_cast<baton::TokenOrder>(in.byte() % 3);
  group.num_blocks = in.number32();
  for (baton::TensorPlace& place : group.places) {
    place.offset_bytes = in.number();
    place.block_stride_bytes = in.number();
  }
  return group;
}

// Makes the common mistakes good, so that the deeper code is reached.
void repair(LayerGroup& group) {
  const uint64_t places = uint64_t{group.tensors_per_layer} * group.layers.size();
  if (places <= 16) group.places.resize(places, {baton::SectionId(1), 0, 4096});
  if (group.kind != baton::GroupKind::kSlidingWindow) group.window_tokens = 0;
}

std::vector<uint32_t> read_blocks(Input& in, const LayerGroup& group, baton::TokenRange tokens) {
  std::vector<uint32_t> blocks;
  if (in.byte() < 16) return blocks;
  const uint32_t needed = blocks_of_group(group, tokens);
  if (needed > 4096) return blocks;
  for (uint32_t i = 0; i < needed; ++i) blocks.push_back(in.byte() < 250 ? i : in.number32());
  return blocks;
}

uint64_t rows_of(const Layout& source, baton::TokenRange tokens) {
  uint64_t rows = 0;
  for (const LayerGroup& group : source.groups) {
    const baton::TokenRange moved = tokens_of_group(group, tokens);
    rows += uint64_t{moved.end - moved.begin} * group.heads *
            (1 + row_bytes(group) / baton::kv::kMinUnitBytes);
  }
  return rows;
}

bool lies_within(const LayerGroup& group, baton::SectionId section, uint64_t offset,
                 uint64_t length) {
  for (const baton::TensorPlace& place : group.places) {
    if (place.section == section && offset >= place.offset_bytes &&
        offset + length <= place.offset_bytes + tensor_span_bytes(group, place)) {
      return true;
    }
  }
  return false;
}

void require(bool condition) {
  if (!condition) std::abort();
}

void check_unit(const Layout& source, const Layout& target, const baton::kv::Unit& unit,
                uint32_t unit_bytes, bool knows_source) {
  require(unit.length_bytes > 0 && unit.length_bytes <= unit_bytes);
  require(lies_within(target.groups[unit.group], unit.target_section, unit.target_offset_bytes,
                      unit.length_bytes));
  if (!knows_source) return;
  require(unit.num_sources > 0 && unit.num_sources <= baton::kv::kMaxUnitSources);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < unit.num_sources; ++i) {
    const auto& range = unit.sources[i];
    require(lies_within(source.groups[unit.group], range.section, range.offset_bytes,
                        range.length_bytes));
    sum += range.length_bytes;
  }
  require(sum == unit.length_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Layout source;
  Layout target;
  const uint8_t num_groups = in.byte() % 4;
  for (uint8_t i = 0; i < num_groups; ++i) {
    source.groups.push_back(read_group(in));
    if (in.byte() >= 16) repair(source.groups.back());
    target.groups.push_back(read_other(in, source.groups.back()));
    if (in.byte() >= 16) repair(target.groups.back());
  }
  const bool is_valid = validate(source).is_ok() && validate(target).is_ok();
  const bool is_compatible = compatible(source, target).is_ok();
  require(!is_compatible || layout_hash(source) == layout_hash(target));

  baton::kv::PlanRequest request;
  request.source = &source;
  request.target = &target;
  request.tokens.begin = in.number32();
  request.tokens.end = request.tokens.begin + in.number32();
  request.unit_bytes = in.byte() < 240 ? 4096 : in.number32();
  const bool knows_source = in.byte() & 1;
  std::vector<std::vector<uint32_t>> source_blocks(num_groups);
  std::vector<std::vector<uint32_t>> target_blocks(num_groups);
  if (is_valid && is_compatible && !request.tokens.is_empty()) {
    if (rows_of(source, request.tokens) > kMaxRows) return 0;
    for (uint8_t i = 0; i < num_groups; ++i) {
      source_blocks[i] = read_blocks(in, source.groups[i], request.tokens);
      target_blocks[i] = read_blocks(in, target.groups[i], request.tokens);
    }
  }
  if (knows_source) request.source_blocks = source_blocks;
  request.target_blocks = target_blocks;
  const auto plan = baton::kv::Plan::create(request);
  if (!plan.is_ok()) {
    require(!plan.status().message().empty());
    return 0;
  }
  require(is_valid && is_compatible);
  uint32_t steps = 0;
  for (uint32_t layer = 0; layer < plan->num_layers() && steps < kMaxUnits; ++layer) {
    auto cursor = plan->cursor(layer);
    baton::kv::Unit unit;
    uint64_t units = 0;
    uint64_t bytes = 0;
    while (cursor.next(unit)) {
      check_unit(source, target, unit, request.unit_bytes, knows_source);
      ++units;
      ++steps;
      bytes += unit.length_bytes;
    }
    require(units == plan->units_of_layer(layer) && bytes == plan->bytes_of_layer(layer));
    const uint32_t middle = request.tokens.begin + in.number32() % 64;
    require(plan->units_in(layer, {0, middle}) + plan->units_in(layer, {middle, UINT32_MAX}) ==
            units);
  }
  return 0;
}
