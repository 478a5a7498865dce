#include "examples/reference_engine/engine_generate.h"

#include <string>

#include "examples/reference_engine/engine_interrupt.h"
#include "examples/reference_engine/sampler.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

Result<Generation> generate(const StepFunction& step, const GenerateOptions& options,
                            Progress& progress) {
  Generation out;
  uint32_t token = options.last_prompt_token;
  for (uint32_t index = 0; index < options.max_new_tokens; ++index) {
    if (interrupted()) return Status(StatusCode::kCancelled, "interrupted");
    auto logits = step(token, index == 0);
    if (!logits.is_ok()) return logits.status();
    token = greedy_token(*logits);
    if (index == 0) out.first_token_ns = now_ns();
    out.logits.insert(out.logits.end(), logits->begin(), logits->end());
    out.tokens.push_back(token);
    progress.maybe_say("token " + std::to_string(index + 1) + " of " +
                       std::to_string(options.max_new_tokens));
    if (token == options.end_of_sequence) break;
  }
  return out;
}

}  // namespace baton_engine
