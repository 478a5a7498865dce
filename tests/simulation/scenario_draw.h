// What the parts of make_scenario() draw from.
//
// Thread rule: pure but for the generator that is passed.
#pragma once

#include <cstdint>

#include "src/base/random.h"
#include "tests/simulation/scenario.h"

namespace baton_test {

inline constexpr uint32_t kLongDeadlineMs = 20'000;

inline uint32_t pick(baton::base::Random& random, uint64_t first, uint64_t last) {
  return static_cast<uint32_t>(random.between(first, last));
}

// Small numbers often, large ones sometimes.
inline uint32_t pick_skewed(baton::base::Random& random, uint64_t first, uint64_t last) {
  return pick(random, first, first + random.below(last - first + 1));
}

baton::TokenRange make_tokens(baton::base::Random& random, uint32_t max_tokens);
// A partition of script.tokens, and how much of it is said before the seal.
void make_chunks(baton::base::Random& random, const Scenario& scenario, RequestScript& script);

// Appends one hand-off of several requests that share memory, in the way of the topology: a group
// of Grants from several writers, or several readers of the same blocks.
void make_group(baton::base::Random& random, Topology topology, uint32_t max_tokens,
                Scenario& scenario);

}  // namespace baton_test
