// From the user's prompt to the model's tokens, with every check on the way.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/model.h"

namespace baton_engine {

struct PromptOptions {
  bool chat = false;  // wrap the prompt in the model's chat template
  uint32_t max_new_tokens = 0;
};

// The tokens of `prompt`, byte for byte: at least one. kInvalidArgument for an empty prompt or one
// that is not UTF-8 (with the offset); kOutOfRange when prompt and new tokens pass the model's
// context; kUnavailable for chat with a model that has no template.
baton::Result<std::vector<uint32_t>> encode_prompt(const Model& model, std::string_view prompt,
                                                   const PromptOptions& options);

}  // namespace baton_engine
