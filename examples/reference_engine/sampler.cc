#include "examples/reference_engine/sampler.h"

#include <cmath>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {

uint32_t greedy_token(std::span<const float> logits) {
  ENGINE_ASSERT(!logits.empty());
  uint32_t best = 0;
  for (uint32_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best] || (std::isnan(logits[best]) && !std::isnan(logits[i]))) best = i;
  }
  return best;
}

}  // namespace baton_engine
