// The bytes of a model's KV, as a function of (group, tensor, token, head): every rank that holds a
// head holds the same, and what a target must hold follows without asking who sends.
#pragma once

#include <cstdint>
#include <vector>

#include "src/base/random.h"
#include "tests/unit/kv/plan_check.h"
#include "tests/unit/kv/random_case.h"
#include "tests/unit/kv/reference.h"

namespace baton_test {

// Calls visit(section, offset, row_seed, row_bytes) for each row that the side holds of the tokens
// that are handed over; `section` counts from 0.
template <typename Visit>
void for_model_rows(const Side& side, baton::TokenRange tokens, Visit visit) {
  for (size_t g = 0; g < side.layout.groups.size(); ++g) {
    const baton::LayerGroup& group = side.layout.groups[g];
    const uint32_t first = reference_first_token(group, tokens);
    const uint64_t row = uint64_t{group.head_elements} * baton::dtype_bytes(group.dtype);
    for (size_t place = 0; place < group.places.size(); ++place) {
      for (uint32_t token = first; token < tokens.end; ++token) {
        for (uint32_t head = group.head_first; head < group.head_first + group.heads; ++head) {
          const uint64_t offset =
              reference_address(group, group.places[place], side.blocks[g], first, token, head);
          uint64_t seed = ((g * 1000 + place) * 1000 + token) * 1000 + head;
          visit(group.places[place].section.value - 1, offset, baton::base::splitmix64(seed), row);
        }
      }
    }
  }
}

// Writes these rows, and nothing else.
inline void fill_model(const Side& side, baton::TokenRange tokens, Memory& memory) {
  for_model_rows(side, tokens,
                 [&](uint32_t section, uint64_t offset, uint64_t seed, uint64_t length) {
                   memory.sections[section]->fill_pattern(seed - offset, offset, length);
                 });
}

}  // namespace baton_test
