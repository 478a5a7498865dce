// Which rank sends which heads: the part of a Plan that is about several sources.
//
// A prefill engine with tensor parallelism holds the KV heads in slices, one a rank; with more
// ranks than heads (4 KV heads on 8 ranks), or with a latent, several ranks hold the same ones. One
// of them sends. assign_senders() says which, by a rule that depends on the layouts, their order
// and `target_rank` alone, so that every process which knows them derives the same.
//
// The rule, per layer group:
//  1. Going up through the heads that the target holds, the next ones are given to a source that
//     holds them and has been given none yet: one of those that hold the fewest of them in a row
//     (what they hold of the target's heads ends first).
//  2. These equals take turns in the order of their index, beginning with number turn * needed,
//     modulo how many there are: turn = target_rank + the group's index, needed = how many sources
//     it takes to give away what they hold from here.
//  3. A source is given all that it can send in a row, but at most `limit` heads.
//  4. `limit` is the least number, found by bisection from ceil(heads / sources), with which all
//     heads that any source holds are given away.
// Each source has one range of heads, which may be empty. Targets that hold the same heads should
// have successive target_ranks: they are then served by different replicas.
//
// Thread rule: pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "baton/export.h"
#include "baton/layout.h"
#include "baton/status.h"

namespace baton {

inline constexpr uint32_t kMaxSenders = 1024;

struct SenderRequest {
  std::span<const Layout* const> sources;  // by rank
  const Layout* target = nullptr;
  uint32_t target_rank = 0;
  bool allow_gaps = false;  // heads that no source holds are left out instead of refused
};

// heads[source][layer group]: what GrantRequest::heads and GrantOffer::heads hold of that source. A
// source all of whose ranges are empty sends nothing. kInvalidArgument: no sources, or more than
// kMaxSenders; a layout that validate() refuses. kMismatch: a layout that is not compatible (names
// the source), or a head that no source holds (names group and head).
using SenderHeads = std::vector<std::vector<HeadRange>>;
BATON_EXPORT Result<SenderHeads> assign_senders(const SenderRequest& request);

}  // namespace baton
