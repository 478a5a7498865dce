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
  std::vector<baton::TokenRange> chunks;  // partition of `tokens`, in order
};

RandomCase make_random_case(baton::base::Random& random);

// For messages of failed tests.
std::string describe(const RandomCase& c);

}  // namespace baton_test
