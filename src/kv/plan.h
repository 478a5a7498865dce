// Plan: the pure function (source Layout, target Layout, block lists, tokens) -> units and copy
// runs. docs/units.md states the cut with an example.
//
// The cut (the contract of both sides; it depends on the two layouts, the tokens, the heads and
// unit_bytes, and on nothing else):
//  1. For one (target block, layer, tensor) take the bytes of the planned tokens and of the sent
//     heads: those that both sides hold, or those of them that the request names. Their maximal
//     contiguous ranges *in the target block* are the extents, in address order.
//  2. An extent is cut into units from its beginning. A unit takes whole rows (a row: one token of
//     one head) and ends at the first of: the end of the extent; unit_bytes (rounded down to whole
//     rows); kMaxUnitSources source pieces. A row longer than unit_bytes is cut at multiples of
//     unit_bytes from its beginning, each part a unit of its own.
//  3. A source piece is a maximal run of the unit's bytes that is contiguous within one *source
//     block*. That two blocks of the source may be neighbours in memory is not looked at: the
//     receiver does not know the source's blocks and must count the same.
//
// Invariants:
//  1. Units do not overlap, and together cover exactly the bytes of rule 1.
//  2. For chunks that partition the planned tokens, each unit is yielded by exactly one chunk: the
//     one that holds the unit's last (greatest) token position.
//  3. Counts do not depend on whether the source's blocks are known, nor on chunks.
//
// Ownership: a Plan copies what it needs; layouts and lists may go after create(). Thread rule: a
// Plan is constant, any thread may read it; a UnitCursor belongs to one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/status.h"
#include "src/kv/geometry.h"

namespace baton::kv {

inline constexpr uint32_t kMinUnitBytes = 4096;
inline constexpr uint32_t kMaxUnitBytes = 16u << 20;
// (token, head) rows of one layer's tensor in one Plan: 1 Mi tokens of 128 heads. Bounds the time
// that create() takes on a layout that a peer sent (counting visits each row at most once).
inline constexpr uint64_t kMaxPlanRows = uint64_t{1} << 27;

struct SourceRange {
  uint64_t offset_bytes = 0;
  SectionId section;
  uint32_t length_bytes = 0;

  friend bool operator==(const SourceRange&, const SourceRange&) = default;
};

struct Unit {
  uint64_t target_offset_bytes = 0;
  SectionId target_section;
  uint32_t length_bytes = 0;    // <= unit_bytes; the sum of its sources' lengths
  uint32_t layer_ordinal = 0;   // among all layers of the plan
  uint32_t group = 0;           // of the layouts
  uint32_t block_position = 0;  // in the group's target block list
  uint32_t num_sources = 0;     // 0 when the plan does not know the source's blocks
  std::array<SourceRange, kMaxUnitSources> sources;  // in target order; the first num_sources count
};

struct PlanRequest {
  const Layout* source = nullptr;
  const Layout* target = nullptr;
  // One list per layer group. source_blocks[g][i] and target_blocks[g][i] name the i-th block that
  // tokens_of_group(group g, tokens) touches on that side: entry 0 holds the first of these tokens,
  // wherever in its block that is. Block sizes differ, and so do the lengths of the two lists
  // (blocks_of_group()). Without a value, source_blocks is unknown: the plan counts, and its units
  // have no sources.
  std::optional<std::span<const std::vector<uint32_t>>> source_blocks;
  std::span<const std::vector<uint32_t>> target_blocks;
  // The heads that are sent, one range per layer group, all of them held on both sides; a range
  // without heads: no units of that group. Empty: of every group all heads that both hold.
  std::span<const HeadRange> heads;
  TokenRange tokens;        // not empty
  uint32_t unit_bytes = 0;  // [kMinUnitBytes, kMaxUnitBytes]
};

struct GroupPlan;
struct LayerPlan;

// Enumerates units; allocates nothing. Valid while its Plan lives (which may be moved). Copying it
// forks the enumeration. A default one is at its end.
class UnitCursor {
 public:
  UnitCursor() = default;

  // The next unit, in target order per tensor: block list order, then address. False at the end;
  // then `unit` is as it was. Skips units of other chunks: one call may pass over the units of one
  // block.
  bool next(Unit& unit);

 private:
  friend class Plan;
  UnitCursor(const GroupPlan& group, const LayerPlan& layer, TokenRange chunk);
  bool next_block();
  void start_block();

  const GroupPlan* group_ = nullptr;
  const LayerPlan* layer_ = nullptr;
  TokenRange chunk_;          // within the group's tokens
  uint32_t tensor_ = 0;       // == tensors per layer: at the end
  uint32_t block_begin_ = 0;  // [begin, end) of list positions that the chunk touches
  uint32_t block_end_ = 0;
  uint32_t block_ = 0;
  bool check_chunk_ = false;  // the block has tokens outside the chunk
  uint64_t target_base_ = 0;  // of this block in its section
  BlockWalk walk_;
};

class Plan {
 public:
  // kInvalidArgument: tokens empty or reversed, unit_bytes or a layout invalid, a list too short or
  // too long, a target block named twice, no head of any group named. kMismatch: the layouts do not
  // match, share no head, or heads are named that not both hold. kOutOfRange: a block index past
  // num_blocks (side, group, position, value, limit), or more rows than kMaxPlanRows. Allocates;
  // O(blocks + layers + units of one layer per group).
  static Result<Plan> create(const PlanRequest& request);

  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  TokenRange tokens() const { return tokens_; }
  bool knows_source() const { return knows_source_; }
  uint32_t num_layers() const;
  uint64_t total_units() const { return total_units_; }
  uint64_t total_bytes() const { return total_bytes_; }

  // REQUIRES of all below: layer_ordinal < num_layers().
  uint64_t units_of_layer(uint32_t layer_ordinal) const;
  uint64_t bytes_of_layer(uint32_t layer_ordinal) const;
  // The model's number of the layer.
  uint32_t layer_number(uint32_t layer_ordinal) const;

  // All units of a layer, or those whose last token lies in `chunk` (may exceed tokens(), may be
  // empty).
  UnitCursor cursor(uint32_t layer_ordinal) const { return cursor(layer_ordinal, tokens_); }
  UnitCursor cursor(uint32_t layer_ordinal, TokenRange chunk) const;
  // How many units cursor(layer_ordinal, chunk) yields; passes over at most two blocks' units and
  // those of one period of block sizes.
  uint64_t units_in(uint32_t layer_ordinal, TokenRange chunk) const;

 private:
  Plan();
  const LayerPlan& layer(uint32_t ordinal) const;

  TokenRange tokens_;
  bool knows_source_ = false;
  uint64_t total_units_ = 0;
  uint64_t total_bytes_ = 0;
  std::vector<GroupPlan> groups_;
  std::vector<LayerPlan> layers_;
};

}  // namespace baton::kv
