// What a Plan and a fan-in check alike of one layer group.
//
// Thread rule: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "baton/layout.h"
#include "baton/status.h"

namespace baton::kv {

// "[3, 7)"
std::string range_text(TokenRange tokens);
std::string range_text(HeadRange heads);

// Length and entries of a block list. `side`: "source" or "target". kInvalidArgument / kOutOfRange.
Status check_block_list(const char* side, size_t index, const LayerGroup& group, TokenRange tokens,
                        const std::vector<uint32_t>& blocks);
// kInvalidArgument: a target block is named twice, so that two units would write the same bytes.
Status check_distinct_blocks(size_t index, const std::vector<uint32_t>& blocks);
// kMismatch: no head in common.
Status check_share_heads(size_t index, const LayerGroup& source, const LayerGroup& target);
// kMismatch: not both hold all of `heads`. An empty range passes.
Status check_sent_heads(size_t index, const LayerGroup& source, const LayerGroup& target,
                        HeadRange heads);

}  // namespace baton::kv
