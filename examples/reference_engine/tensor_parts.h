// TensorParts: the three parts into which every layer is cut, in every mode: tensor-parallel ranks
// compute one part each, a process alone computes all three.
//
// A part is some query heads, the KV heads that they read, and some columns of the feed-forward
// width. Its share of the attention output and of the down projection is a partial sum; the layer
// adds the partials of parts 0, 1, 2 in this order. What each part computes has the same shape in
// every mode, and so the same bits.
//
// Invariants:
//  1. Query heads and feed-forward columns belong to one part each, in order, and no part has more
//     than one more of them (of KV heads where there are three or more) than another.
//  2. Three KV heads or more: they belong to one part each, and their query heads with them.
//     Fewer: parts hold copies of the KV heads that their query heads read.
//  3. A KV head is handed over by the first part that holds it (`owned_kv_heads`); a part that
//     holds only copies hands none over.
//
// Thread rule: pure functions and values.
#pragma once

#include <cstdint>

#include "baton/status.h"
#include "examples/reference_engine/model_config.h"

namespace baton_engine {

inline constexpr uint32_t kTensorParts = 3;

// [first, first + count).
struct IndexRange {
  uint32_t first = 0;
  uint32_t count = 0;

  uint32_t end() const { return first + count; }
  bool is_empty() const { return count == 0; }
  friend bool operator==(const IndexRange&, const IndexRange&) = default;
};

// What both hold; empty (and wherever) when they share nothing.
IndexRange overlap(const IndexRange& a, const IndexRange& b);

inline constexpr IndexRange kAllParts{0, kTensorParts};

struct TensorPart {
  IndexRange query_heads;
  IndexRange kv_heads;        // that query_heads read
  IndexRange owned_kv_heads;  // those of them that no earlier part holds
  IndexRange feed_forward;    // columns
};

// REQUIRES: config.validate() is OK, part < kTensorParts. A part of a model with fewer than three
// heads may be empty.
TensorPart tensor_part(const ModelConfig& config, uint32_t part);

// The query heads and KV heads that parts [parts.first, parts.end()) hold, and the KV heads that
// they hand over.
// REQUIRES: parts is not empty.
IndexRange query_heads_of(const ModelConfig& config, const IndexRange& parts);
IndexRange kv_heads_of(const ModelConfig& config, const IndexRange& parts);
IndexRange owned_kv_heads_of(const ModelConfig& config, const IndexRange& parts);

// The parts that rank `rank` of `ranks` (1 or 3) computes. REQUIRES: rank < ranks.
IndexRange parts_of_rank(uint32_t rank, uint32_t ranks);

// kInvalidArgument: `ranks` is neither 1 nor 3, or a rank would have no head or no column.
baton::Status check_ranks(const ModelConfig& config, uint32_t ranks);

}  // namespace baton_engine
