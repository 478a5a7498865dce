#include "examples/reference_engine/load_tokenizer.h"

#include <array>
#include <limits>
#include <utility>

#include "examples/reference_engine/utf8.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

// GGUF's numbers of token types.
constexpr int32_t kTypeNormal = 1;
constexpr int32_t kTypeControl = 3;
constexpr int32_t kTypeUserDefined = 4;

// Characters past this stand for no byte.
constexpr uint32_t kPrintableEnd = 256 + 68;
constexpr uint16_t kNoByte = 256;

// GPT-2's table: printable Latin-1 bytes stand for themselves, the 68 others follow from U+0100 on.
std::array<uint16_t, kPrintableEnd> make_printable_table() {
  std::array<uint16_t, kPrintableEnd> bytes;
  bytes.fill(kNoByte);
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    bytes[printable ? byte : next++] = static_cast<uint16_t>(byte);
  }
  return bytes;
}

Status bad(const GgufFile& file, const std::string& what) {
  return Status(StatusCode::kInvalidArgument, file.file_name() + ": " + what);
}

Status check_kind(const GgufFile& file) {
  const struct {
    const char* key;
    const char* expected;
  } kinds[] = {{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", "smollm"}};
  for (const auto& kind : kinds) {
    const auto found = file.get_string(kind.key);
    if (!found.is_ok()) return found.status();
    if (*found != kind.expected) {
      return bad(file, std::string(kind.key) + " is '" + std::string(*found) +
                           "'; this engine has '" + kind.expected + "'");
    }
  }
  return Status::ok();
}

Status read_tokens(const GgufFile& file, Vocabulary& vocabulary) {
  const auto tokens = file.get_strings("tokenizer.ggml.tokens");
  if (!tokens.is_ok()) return tokens.status();
  const auto types = file.get_int32s("tokenizer.ggml.token_type");
  if (!types.is_ok()) return types.status();
  if (types->size() != tokens->size()) {
    return bad(file, std::to_string(types->size()) + " token types for " +
                         std::to_string(tokens->size()) + " tokens");
  }
  for (size_t i = 0; i < tokens->size(); ++i) {
    const std::string_view text = (*tokens)[i];
    const int32_t type = (*types)[i];
    if (type == kTypeControl || type == kTypeUserDefined) {
      vocabulary.tokens.emplace_back(text);
      vocabulary.kinds.push_back(TokenKind::kSpecial);
      continue;
    }
    auto bytes = from_printable_bytes(text);
    if (type == kTypeNormal && !bytes) {
      return bad(file, "token " + std::to_string(i) + " is not written in byte-level characters");
    }
    vocabulary.tokens.push_back(std::move(bytes).value_or(std::string(text)));
    vocabulary.kinds.push_back(type == kTypeNormal ? TokenKind::kNormal : TokenKind::kUnused);
  }
  return Status::ok();
}

Status read_merges(const GgufFile& file, Vocabulary& vocabulary) {
  const auto merges = file.get_strings("tokenizer.ggml.merges");
  if (!merges.is_ok()) return merges.status();
  for (size_t i = 0; i < merges->size(); ++i) {
    const std::string_view merge = (*merges)[i];
    // Bytes are written without spaces, so that the space is the border.
    const size_t space = merge.find(' ');
    const auto left = from_printable_bytes(merge.substr(0, space));
    const auto right =
        from_printable_bytes(space == std::string_view::npos ? "" : merge.substr(space + 1));
    if (!left || !right || left->empty() || right->empty()) {
      return bad(file, "merge " + std::to_string(i) + " is not two byte-level strings");
    }
    vocabulary.merges.emplace_back(*left, *right);
  }
  return Status::ok();
}

Status read_special(const GgufFile& file, Vocabulary& vocabulary) {
  constexpr uint64_t kMax = std::numeric_limits<uint32_t>::max();
  const auto end = file.get_unsigned("tokenizer.ggml.eos_token_id");
  if (!end.is_ok()) return end.status();
  if (*end > kMax) return bad(file, "tokenizer.ggml.eos_token_id is too large");
  vocabulary.end_of_sequence = static_cast<uint32_t>(*end);
  if (!file.has("tokenizer.ggml.add_bos_token")) return Status::ok();
  const auto add = file.get_bool("tokenizer.ggml.add_bos_token");
  if (!add.is_ok()) return add.status();
  if (!*add) return Status::ok();
  const auto begin = file.get_unsigned("tokenizer.ggml.bos_token_id");
  if (!begin.is_ok()) return begin.status();
  if (*begin > kMax) return bad(file, "tokenizer.ggml.bos_token_id is too large");
  vocabulary.begin_of_sequence = static_cast<uint32_t>(*begin);
  return Status::ok();
}

}  // namespace

std::optional<std::string> from_printable_bytes(std::string_view text) {
  static const std::array<uint16_t, kPrintableEnd> table = make_printable_table();
  std::string bytes;
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    // All stand-ins lie below U+0144: one or two bytes of UTF-8.
    if (step.kind != Utf8Kind::kCharacter || step.length_bytes > 2) return std::nullopt;
    uint32_t character = static_cast<uint8_t>(text[0]);
    if (step.length_bytes == 2) {
      character = (character & 0x1fU) << 6 | (static_cast<uint8_t>(text[1]) & 0x3fU);
    }
    if (character >= kPrintableEnd || table[character] == kNoByte) return std::nullopt;
    bytes += static_cast<char>(table[character]);
    text.remove_prefix(step.length_bytes);
  }
  return bytes;
}

std::optional<std::string> find_system_prompt(std::string_view chat_template) {
  // A new line inside the template's string literal, as itself or as Jinja's escape.
  for (const std::string_view begin : {"'<|im_start|>system\n", "'<|im_start|>system\\n"}) {
    const size_t at = chat_template.find(begin);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = chat_template.substr(at + begin.size());
    const size_t end = rest.find("<|im_end|>");
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view prompt = rest.substr(0, end);
    // Anything but plain text would need a Jinja interpreter.
    if (prompt.find_first_of("'\\{}") != std::string_view::npos) return std::nullopt;
    return std::string(prompt);
  }
  return std::nullopt;
}

Result<Tokenizer> load_tokenizer(const GgufFile& file) {
  BATON_RETURN_IF_ERROR(check_kind(file));
  Vocabulary vocabulary;
  BATON_RETURN_IF_ERROR(read_tokens(file, vocabulary));
  BATON_RETURN_IF_ERROR(read_merges(file, vocabulary));
  BATON_RETURN_IF_ERROR(read_special(file, vocabulary));
  if (file.has("tokenizer.chat_template")) {
    const auto chat_template = file.get_string("tokenizer.chat_template");
    if (!chat_template.is_ok()) return chat_template.status();
    vocabulary.chat_system_prompt = find_system_prompt(*chat_template);
  }
  auto tokenizer = Tokenizer::create(std::move(vocabulary));
  if (!tokenizer.is_ok()) {
    return Status(tokenizer.code(), file.file_name() + ": " + tokenizer.status().message());
  }
  return tokenizer;
}

}  // namespace baton_engine
