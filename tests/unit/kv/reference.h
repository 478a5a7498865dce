// An independent, naive statement of what a Plan does: the bytes, row by row and byte by byte, and
// the cut, by sorting the rows of each target block and joining them greedily. Shares no code with
// src/kv.
#pragma once

#include <cstdint>
#include <vector>

#include "src/kv/plan.h"
#include "tests/unit/kv/random_case.h"

namespace baton_test {

struct ReferenceUnit {
  uint32_t layer_ordinal = 0;
  uint32_t group = 0;
  uint32_t block_position = 0;
  uint32_t section = 0;
  uint64_t offset_bytes = 0;
  uint32_t length_bytes = 0;
  uint32_t last_token = 0;
  std::vector<baton::kv::SourceRange> sources;
};

// First token of the range that is handed over for this group, and where a row of one (token, head)
// lies in its section.
uint32_t reference_first_token(const baton::LayerGroup& group, baton::TokenRange tokens);
uint64_t reference_address(const baton::LayerGroup& group, const baton::TensorPlace& place,
                           const std::vector<uint32_t>& blocks, uint32_t first_token,
                           uint32_t token, uint32_t head);

// All units, in the order that cursors promise.
std::vector<ReferenceUnit> reference_units(const RandomCase& c);

using Bytes = std::vector<uint8_t>;

// Copies every byte of every shared head of every planned token, one at a time. `source` and
// `target` are the sections, by id - 1.
void reference_copy(const RandomCase& c, const std::vector<const uint8_t*>& source,
                    const std::vector<uint8_t*>& target);

}  // namespace baton_test
