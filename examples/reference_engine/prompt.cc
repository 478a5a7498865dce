#include "examples/reference_engine/prompt.h"

#include <string>

#include "examples/reference_engine/utf8.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

Result<std::vector<uint32_t>> encode_prompt(const Model& model, std::string_view prompt,
                                            const PromptOptions& options) {
  if (prompt.empty()) return Status(StatusCode::kInvalidArgument, "the prompt is empty");
  std::string text(prompt);
  if (options.chat) {
    // Checked here, too, so that the offset is that of the user's own text.
    if (const auto at = find_invalid_utf8(prompt)) {
      return Status(StatusCode::kInvalidArgument,
                    "the prompt is not UTF-8: see its byte at offset " + std::to_string(*at));
    }
    auto wrapped = model.tokenizer().wrap_chat(prompt);
    if (!wrapped.is_ok()) return wrapped.status();
    text = std::move(*wrapped);
  }
  auto tokens = model.tokenizer().encode(text);
  if (!tokens.is_ok()) return Status(tokens.code(), "the prompt: " + tokens.status().message());
  const uint64_t context = model.config().context_tokens;
  if (tokens->size() + options.max_new_tokens > context) {
    return Status(StatusCode::kOutOfRange,
                  "the prompt has " + std::to_string(tokens->size()) + " tokens and " +
                      std::to_string(options.max_new_tokens) +
                      " new ones are asked for; the model's context holds " +
                      std::to_string(context));
  }
  return tokens;
}

}  // namespace baton_engine
