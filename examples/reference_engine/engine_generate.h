// Greedy generation over a sequence that holds the prompt but for its last token.
//
// Thread rule: a pure function of what `step` does.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_progress.h"

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
};

// Appends a token to the sequence and returns the logits of the next, as ForwardPass::decode.
using StepFunction =
    std::function<baton::Result<std::span<const float>>(uint32_t token, bool is_first)>;

// kCancelled when interrupted; otherwise the errors of `step`.
baton::Result<Generation> generate(const StepFunction& step, const GenerateOptions& options,
                                   Progress& progress);

}  // namespace baton_engine
