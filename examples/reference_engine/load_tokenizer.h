// load_tokenizer: from a GGUF file's metadata to a Tokenizer.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "baton/status.h"
#include "examples/reference_engine/gguf_file.h"
#include "examples/reference_engine/tokenizer.h"

namespace baton_engine {

// Reads byte-level BPE ("gpt2") with SmolLM's pre-tokenizer ("smollm"). kInvalidArgument for
// another kind, which would tokenize wrongly; the message names the key.
baton::Result<Tokenizer> load_tokenizer(const GgufFile& file);

// GPT-2's printable stand-ins back to bytes: every byte is one character there. nullopt when `text`
// holds a character that stands for no byte.
std::optional<std::string> from_printable_bytes(std::string_view text);

// The default system prompt of a Jinja chat template of the ChatML form, or nullopt for another
// form.
std::optional<std::string> find_system_prompt(std::string_view chat_template);

}  // namespace baton_engine
