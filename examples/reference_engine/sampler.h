// Greedy sampling: reproducible, which is what a comparison of hand-offs needs.
#pragma once

#include <cstdint>
#include <span>

namespace baton_engine {

// The index of the largest logit; of several equal ones, the lowest. NaN never wins, unless all
// are. REQUIRES: not empty.
uint32_t greedy_token(std::span<const float> logits);

}  // namespace baton_engine
