// Random pairs of layouts with block lists and a token range, all of which a Plan accepts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/layout.h"
#include "src/base/random.h"

namespace baton_test {

struct Side {
  baton::Layout layout;
  std::vector<uint64_t> section_bytes;  // by section id - 1
  std::vector<std::vector<uint32_t>> blocks;
};

struct RandomCase {
  Side source;
  Side target;
  baton::TokenRange tokens;
  uint32_t unit_bytes = 0;
  std::vector<baton::HeadRange> heads = {};  // that are sent, by group; empty: all that both hold
  std::vector<baton::TokenRange> chunks;     // partition of `tokens`, in order
};

RandomCase make_random_case(baton::base::Random& random);
// Restricts the case to some heads of each group, of some groups none.
void restrict_heads(baton::base::Random& random, RandomCase& c);

// ---- its parts, for other cases

// A block list of the length that the tokens need, and num_blocks to hold it.
void make_blocks(baton::base::Random& random, baton::LayerGroup& group, baton::TokenRange tokens,
                 Side& side);
// Places of the group's tensors: each in an area of its own, or all interleaved block by block.
void place_tensors(baton::base::Random& random, bool is_interleaved, baton::LayerGroup& group,
                   Side& side);
// Instead of what make_blocks() and place_tensors() made: one pool for all groups of the side, as
// hybrid allocators have it. A page of the pool belongs to whichever group has it in its list, and
// holds all of that group's tensors.
void share_pool(baton::base::Random& random, Side& side);
// A side with 1 to 3 sections and nothing in them.
Side make_side(baton::base::Random& random);
std::vector<baton::TokenRange> make_chunks(baton::base::Random& random, baton::TokenRange tokens);
std::string describe(const char* name, const Side& side);

// For messages of failed tests.
std::string describe(const RandomCase& c);

}  // namespace baton_test
