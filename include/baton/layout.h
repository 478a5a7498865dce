// Layout: where the bytes of a paged KV cache lie, so that both sides of a hand-off address them by
// block index.
//
// A cache is some groups of layers. All layers of a group share one block size and one block list
// per request. A layer has one or two tensors (K and V packed, or apart); a tensor is an array of
// blocks: block i begins at `offset_bytes + i * block_stride_bytes` of its section. Within a block
// the bytes are dense, without padding, in the group's order:
//
//   kNHD: [block_tokens][heads][head_elements]      kHND: [heads][block_tokens][head_elements]
//
// Invariants (what validate() checks; everything that takes a Layout REQUIRES or checks them):
//  1. Every count is at least 1 and at most its limit below, so that the bytes of a block fit 64
//     bits without overflow.
//  2. block_stride_bytes >= block_bytes(group): blocks of one tensor do not overlap. Tensors may
//     interleave in one section (a stride that spans all layers); that they do not overlap is the
//     caller's word.
//  3. Groups, and layers within a group, are in the same order on both sides. A layer is named once
//     in a group; it may be in several groups (a cache and its scales).
//
// Thread rule: values and pure functions. Nothing here blocks; errors allocate their message.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "baton/export.h"
#include "baton/ids.h"
#include "baton/status.h"

namespace baton {

// Token positions [begin, end) of one request, counted from 0.
struct TokenRange {
  uint32_t begin = 0;
  uint32_t end = 0;

  constexpr bool is_empty() const { return end <= begin; }
  friend constexpr bool operator==(const TokenRange&, const TokenRange&) = default;
};

// KV heads [first, first + count) of the model, counted from 0.
struct HeadRange {
  uint32_t first = 0;
  uint32_t count = 0;

  constexpr bool is_empty() const { return count == 0; }
  // REQUIRES: first + count fits 32 bits, which is so within kMaxHeads.
  constexpr uint32_t end() const { return first + count; }
  friend constexpr bool operator==(const HeadRange&, const HeadRange&) = default;
};

// The numbers of these enums travel on the wire: appended to, never renumbered.
enum class DType : uint8_t { kBf16 = 0, kF16 = 1, kF32 = 2, kF8E4M3 = 3, kU8 = 4, kF8E5M2 = 5 };
enum class TokenOrder : uint8_t { kNHD = 0, kHND = 1 };
enum class GroupKind : uint8_t {
  kFullAttention = 0,
  kSlidingWindow = 1,  // only the last `window_tokens` of a request's range are handed over
  kMlaLatent = 2,      // one latent vector per token: heads_total 1, one tensor per layer
  kLinearState = 3,    // one state per request, after its last token: block_tokens 1, one block
};

// Bytes of one element; 0 for a number that is no DType.
BATON_EXPORT uint32_t dtype_bytes(DType dtype);
// "bf16" and so on, "?" for a number that names none.
BATON_EXPORT std::string_view dtype_name(DType dtype);
BATON_EXPORT std::string_view token_order_name(TokenOrder order);
BATON_EXPORT std::string_view group_kind_name(GroupKind kind);

// Limits, each far above what models use. Their product bounds block_bytes() to 2^62.
inline constexpr uint32_t kMaxLayoutGroups = 64;
inline constexpr uint32_t kMaxLayoutLayers = 4096;    // over all groups: one slot each
inline constexpr uint32_t kMaxLayoutTensors = 65536;  // over all groups
inline constexpr uint32_t kMaxTensorsPerLayer = 16;
inline constexpr uint32_t kMaxBlockTokens = 1u << 20;  // a cache that is not paged has one block
inline constexpr uint32_t kMaxHeads = 1u << 16;
inline constexpr uint32_t kMaxHeadElements = 1u << 24;

// One tensor of one layer.
struct TensorPlace {
  SectionId section;
  uint64_t offset_bytes = 0;  // of block 0 within the section
  uint64_t block_stride_bytes = 0;

  friend bool operator==(const TensorPlace&, const TensorPlace&) = default;
};

struct LayerGroup {
  GroupKind kind = GroupKind::kFullAttention;
  uint32_t block_tokens = 0;
  uint32_t window_tokens = 0;  // kSlidingWindow: >= 1; otherwise 0
  // KV heads of the model, and which of them this cache holds: [head_first, head_first + heads).
  uint32_t heads_total = 0;
  uint32_t head_first = 0;
  uint32_t heads = 0;
  // Per head and token; twice the head size when K and V are packed in the last dimension.
  uint32_t head_elements = 0;
  DType dtype = DType::kBf16;
  TokenOrder order = TokenOrder::kNHD;
  uint32_t tensors_per_layer = 1;  // 1: packed K and V, or a latent; 2: K, then V
  uint32_t num_blocks = 0;
  std::vector<uint32_t> layers;     // the model's layer numbers
  std::vector<TensorPlace> places;  // [layers.size()][tensors_per_layer]

  friend bool operator==(const LayerGroup&, const LayerGroup&) = default;
};

struct Layout {
  std::vector<LayerGroup> groups;

  friend bool operator==(const Layout&, const Layout&) = default;
};

// REQUIRES of these: the groups passed validate().
//
// The heads that a cache holds of this group.
BATON_EXPORT HeadRange heads_of(const LayerGroup& group);
// Those that both hold; {0, 0} when none.
BATON_EXPORT HeadRange shared_heads(const LayerGroup& a, const LayerGroup& b);
// Bytes of one (token, head): the smallest piece that is never reordered inside.
BATON_EXPORT uint64_t row_bytes(const LayerGroup& group);
// Bytes of one block of one tensor.
BATON_EXPORT uint64_t block_bytes(const LayerGroup& group);
// From the first byte of block 0 to the last byte of the last block of one tensor.
BATON_EXPORT uint64_t tensor_span_bytes(const LayerGroup& group, const TensorPlace& place);
// Layers of all groups; a layer's ordinal counts groups in order, then layers in order.
BATON_EXPORT uint32_t num_layers(const Layout& layout);

// The part of a request's tokens that a hand-off moves for this group: all of them, the last
// `window_tokens`, or (kLinearState) the last one. REQUIRES: tokens is not empty.
BATON_EXPORT TokenRange tokens_of_group(const LayerGroup& group, TokenRange tokens);
// How long the block list of this group must be: one entry for each block that
// tokens_of_group(group, tokens) touches; entry 0 holds its first token. REQUIRES: tokens is not
// empty.
BATON_EXPORT uint32_t blocks_of_group(const LayerGroup& group, TokenRange tokens);

struct SectionLength {
  SectionId section;
  uint64_t length_bytes = 0;
};

// Checks the invariants above. kInvalidArgument / kOutOfRange: the message names group, layer,
// tensor, value and limit.
BATON_EXPORT Status validate(const Layout& layout);
// Also that every place lies within its section. kNotFound: a place names no section of the list.
BATON_EXPORT Status validate(const Layout& layout, std::span<const SectionLength> sections);

// A hash of all that two caches must share to exchange KV: groups, kinds, windows, layers,
// heads_total, head_elements, dtype, tensors_per_layer; not block size, order, heads held, places.
// The same on every machine and in every version that speaks the same protocol. Not for security.
BATON_EXPORT uint64_t layout_hash(const Layout& layout);

// kMismatch: the first difference of what the hash covers, with both values.
BATON_EXPORT Status compatible(const Layout& source, const Layout& target);

}  // namespace baton
