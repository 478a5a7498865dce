#include "baton/layout.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "src/base/assert.h"
#include "src/base/checked_math.h"

namespace baton {
namespace {

using std::to_string;

Status invalid(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}

// "group 1 (sliding_window)"
std::string group_text(const Layout& layout, size_t index) {
  return "group " + to_string(index) + " (" +
         std::string(group_kind_name(layout.groups[index].kind)) + ")";
}

// "group 1 (sliding_window), layer 7, tensor 0". REQUIRES: the numbers of places fits.
std::string place_text(const Layout& layout, size_t index, size_t place) {
  const LayerGroup& group = layout.groups[index];
  return group_text(layout, index) + ", layer " +
         to_string(group.layers[place / group.tensors_per_layer]) + ", tensor " +
         to_string(place % group.tensors_per_layer);
}

Status check_count(const std::string& who, const char* field, uint64_t value, uint64_t limit) {
  if (value >= 1 && value <= limit) return Status::ok();
  return invalid(who + ": " + field + " is " + to_string(value) + ", must be in [1, " +
                 to_string(limit) + "]");
}

Status check_kind(const std::string& who, const LayerGroup& group) {
  if (group.kind > GroupKind::kLinearState) {
    return invalid(who + ": kind " + to_string(static_cast<unsigned>(group.kind)) + " is unknown");
  }
  const bool is_window = group.kind == GroupKind::kSlidingWindow;
  if (is_window != (group.window_tokens > 0)) {
    return invalid(who + ": window_tokens is " + to_string(group.window_tokens) +
                   (is_window ? ", must be at least 1" : ", must be 0 for this kind"));
  }
  if (group.kind == GroupKind::kMlaLatent &&
      (group.heads_total != 1 || group.tensors_per_layer != 1)) {
    return invalid(who + ": a latent has 1 head and 1 tensor per layer, not " +
                   to_string(group.heads_total) + " and " + to_string(group.tensors_per_layer));
  }
  if (group.kind == GroupKind::kLinearState && group.block_tokens != 1) {
    return invalid(who + ": block_tokens is " + to_string(group.block_tokens) +
                   ", must be 1: a block holds one state");
  }
  return Status::ok();
}

Status check_shape(const std::string& who, const LayerGroup& group) {
  BATON_RETURN_IF_ERROR(check_count(who, "block_tokens", group.block_tokens, kMaxBlockTokens));
  BATON_RETURN_IF_ERROR(check_count(who, "heads_total", group.heads_total, kMaxHeads));
  BATON_RETURN_IF_ERROR(check_count(who, "heads", group.heads, group.heads_total));
  if (group.head_first > group.heads_total - group.heads) {
    return invalid(who + ": heads [" + to_string(group.head_first) + ", " +
                   to_string(uint64_t{group.head_first} + group.heads) + ") exceed heads_total " +
                   to_string(group.heads_total));
  }
  BATON_RETURN_IF_ERROR(check_count(who, "head_elements", group.head_elements, kMaxHeadElements));
  if (dtype_bytes(group.dtype) == 0) {
    return invalid(who + ": dtype " + to_string(static_cast<unsigned>(group.dtype)) +
                   " is unknown");
  }
  if (group.order > TokenOrder::kHND) {
    return invalid(who + ": order " + to_string(static_cast<unsigned>(group.order)) +
                   " is unknown");
  }
  BATON_RETURN_IF_ERROR(
      check_count(who, "tensors_per_layer", group.tensors_per_layer, kMaxTensorsPerLayer));
  BATON_RETURN_IF_ERROR(check_count(who, "num_blocks", group.num_blocks, UINT32_MAX));
  return check_kind(who, group);
}

Status check_layers(const std::string& who, const LayerGroup& group) {
  BATON_RETURN_IF_ERROR(
      check_count(who, "number of layers", group.layers.size(), kMaxLayoutLayers));
  std::vector<uint32_t> sorted = group.layers;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) return invalid(who + ": layer " + to_string(*twice) + " twice");
  const uint64_t needed = uint64_t{group.layers.size()} * group.tensors_per_layer;
  if (group.places.size() != needed) {
    return invalid(who + ": " + to_string(group.places.size()) + " places for " +
                   to_string(group.layers.size()) + " layers of " +
                   to_string(group.tensors_per_layer) + " tensors, must be " + to_string(needed));
  }
  return Status::ok();
}

// Bytes from offset 0 of the section to the end of the last block, unless past 2^64 - 1.
std::optional<uint64_t> end_of_place(const LayerGroup& group, const TensorPlace& place) {
  const auto strides = base::checked_mul(place.block_stride_bytes, group.num_blocks - 1);
  if (!strides) return std::nullopt;
  const auto span = base::checked_add(*strides, block_bytes(group));
  if (!span) return std::nullopt;
  return base::checked_add(*span, place.offset_bytes);
}

Status check_places(const Layout& layout, size_t index) {
  const LayerGroup& group = layout.groups[index];
  const uint64_t block = block_bytes(group);
  for (size_t i = 0; i < group.places.size(); ++i) {
    const TensorPlace& place = group.places[i];
    if (!place.section) return invalid(place_text(layout, index, i) + ": names no section");
    if (place.block_stride_bytes < block) {
      return invalid(place_text(layout, index, i) + ": block_stride_bytes " +
                     to_string(place.block_stride_bytes) + " is less than a block's " +
                     to_string(block) + " bytes");
    }
    if (!end_of_place(group, place)) {
      return Status(StatusCode::kOutOfRange,
                    place_text(layout, index, i) + ": offset_bytes " +
                        to_string(place.offset_bytes) + " and " + to_string(group.num_blocks) +
                        " blocks at a stride of " + to_string(place.block_stride_bytes) +
                        " bytes end past 2^64");
    }
  }
  return Status::ok();
}

}  // namespace

uint32_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kBf16:
    case DType::kF16:
      return 2;
    case DType::kF32:
      return 4;
    case DType::kF8E4M3:
    case DType::kU8:
    case DType::kF8E5M2:
      return 1;
  }
  return 0;
}

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kBf16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kF32:
      return "f32";
    case DType::kF8E4M3:
      return "f8e4m3";
    case DType::kU8:
      return "u8";
    case DType::kF8E5M2:
      return "f8e5m2";
  }
  return "?";
}

std::string_view token_order_name(TokenOrder order) {
  switch (order) {
    case TokenOrder::kNHD:
      return "NHD";
    case TokenOrder::kHND:
      return "HND";
  }
  return "?";
}

std::string_view group_kind_name(GroupKind kind) {
  switch (kind) {
    case GroupKind::kFullAttention:
      return "full_attention";
    case GroupKind::kSlidingWindow:
      return "sliding_window";
    case GroupKind::kMlaLatent:
      return "mla_latent";
    case GroupKind::kLinearState:
      return "linear_state";
  }
  return "?";
}

uint64_t row_bytes(const LayerGroup& group) {
  return uint64_t{group.head_elements} * dtype_bytes(group.dtype);
}

uint64_t block_bytes(const LayerGroup& group) {
  return uint64_t{group.block_tokens} * group.heads * row_bytes(group);
}

uint64_t tensor_span_bytes(const LayerGroup& group, const TensorPlace& place) {
  return place.block_stride_bytes * (group.num_blocks - 1) + block_bytes(group);
}

uint32_t num_layers(const Layout& layout) {
  size_t count = 0;
  for (const LayerGroup& group : layout.groups) count += group.layers.size();
  return static_cast<uint32_t>(count);
}

HeadRange heads_of(const LayerGroup& group) { return {group.head_first, group.heads}; }

HeadRange shared_heads(const LayerGroup& a, const LayerGroup& b) {
  const uint32_t first = std::max(a.head_first, b.head_first);
  const uint32_t end = std::min(heads_of(a).end(), heads_of(b).end());
  return first < end ? HeadRange{first, end - first} : HeadRange{};
}

TokenRange tokens_of_group(const LayerGroup& group, TokenRange tokens) {
  BATON_ASSERT(!tokens.is_empty(), "a hand-off moves a token");
  uint32_t last = tokens.end - tokens.begin;
  if (group.kind == GroupKind::kSlidingWindow) last = std::min(last, group.window_tokens);
  if (group.kind == GroupKind::kLinearState) last = 1;
  return {tokens.end - last, tokens.end};
}

uint32_t blocks_of_group(const LayerGroup& group, TokenRange tokens) {
  const TokenRange moved = tokens_of_group(group, tokens);
  return (moved.end - 1) / group.block_tokens - moved.begin / group.block_tokens + 1;
}

Status validate(const Layout& layout) {
  if (layout.groups.empty() || layout.groups.size() > kMaxLayoutGroups) {
    return invalid("a layout has 1 to " + to_string(kMaxLayoutGroups) + " groups, not " +
                   to_string(layout.groups.size()));
  }
  size_t layers = 0;
  size_t tensors = 0;
  for (size_t i = 0; i < layout.groups.size(); ++i) {
    const LayerGroup& group = layout.groups[i];
    const std::string who = group_text(layout, i);
    BATON_RETURN_IF_ERROR(check_shape(who, group));
    BATON_RETURN_IF_ERROR(check_layers(who, group));
    BATON_RETURN_IF_ERROR(check_places(layout, i));
    layers += group.layers.size();
    tensors += group.places.size();
  }
  BATON_RETURN_IF_ERROR(check_count("the layout", "number of layers", layers, kMaxLayoutLayers));
  return check_count("the layout", "number of tensors", tensors, kMaxLayoutTensors);
}

Status validate(const Layout& layout, std::span<const SectionLength> sections) {
  BATON_RETURN_IF_ERROR(validate(layout));
  for (size_t g = 0; g < layout.groups.size(); ++g) {
    const LayerGroup& group = layout.groups[g];
    for (size_t i = 0; i < group.places.size(); ++i) {
      const TensorPlace& place = group.places[i];
      const auto found =
          std::find_if(sections.begin(), sections.end(),
                       [&](const SectionLength& known) { return known.section == place.section; });
      if (found == sections.end()) {
        return Status(StatusCode::kNotFound, place_text(layout, g, i) + ": section " +
                                                 to_string(place.section.value) + " is unknown");
      }
      const uint64_t end = place.offset_bytes + tensor_span_bytes(group, place);
      if (end > found->length_bytes) {
        return Status(StatusCode::kOutOfRange, place_text(layout, g, i) + ": ends at byte " +
                                                   to_string(end) + " of section " +
                                                   to_string(place.section.value) + ", which has " +
                                                   to_string(found->length_bytes) + " bytes");
      }
    }
  }
  return Status::ok();
}

}  // namespace baton
