// Greedy generation over a sequence that holds the prompt but for its last token.
//
// Thread rule: one call at a time per ForwardPass.
#pragma once

#include <cstdint>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/forward_hooks.h"
#include "examples/reference_engine/forward_pass.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

struct Generation {
  std::vector<uint32_t> tokens;  // ends with the end-of-sequence token when that came
  std::vector<float> logits;     // [tokens.size()][vocabulary], for the comparison
  int64_t first_token_ns = 0;
};

struct GenerateOptions {
  uint32_t last_prompt_token = 0;
  uint32_t end_of_sequence = 0;
  uint32_t max_new_tokens = 1;
  ForwardHooks* first_step_hooks = nullptr;  // of the first step only; may be null
};

// kCancelled when interrupted; otherwise the errors of ForwardPass::decode.
baton::Result<Generation> generate(ForwardPass& forward, Sequence& sequence,
                                   const GenerateOptions& options, Progress& progress);

}  // namespace baton_engine
