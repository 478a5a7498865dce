#include "examples/reference_engine/tokenizer.h"

#include <algorithm>
#include <array>

#include "examples/reference_engine/engine_assert.h"
#include "examples/reference_engine/utf8.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

using TokenIds = std::unordered_map<std::string_view, uint32_t>;

Status bad(std::string what) {
  return Status(StatusCode::kInvalidArgument, "tokenizer: " + std::move(what));
}

std::string hex_byte(char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto value = static_cast<uint8_t>(byte);
  return {'0', 'x', kDigits[value >> 4], kDigits[value & 15]};
}

Status check(const Vocabulary& vocabulary) {
  const size_t count = vocabulary.tokens.size();
  if (count == 0 || count > UINT32_MAX / 2) return bad(std::to_string(count) + " tokens");
  if (vocabulary.kinds.size() != count) {
    return bad(std::to_string(vocabulary.kinds.size()) + " token kinds for " +
               std::to_string(count) + " tokens");
  }
  for (const uint32_t id : {vocabulary.end_of_sequence, vocabulary.begin_of_sequence.value_or(0)}) {
    if (id >= count) {
      return bad("begin or end of sequence is token " + std::to_string(id) + " of " +
                 std::to_string(count));
    }
  }
  for (size_t i = 0; i < count; ++i) {
    if (vocabulary.tokens[i].empty() && vocabulary.kinds[i] != TokenKind::kUnused) {
      return bad("token " + std::to_string(i) + " is empty");
    }
  }
  return Status::ok();
}

Result<std::vector<BytePairMerger::Merge>> resolve_merges(const Vocabulary& vocabulary,
                                                          const TokenIds& ids) {
  std::vector<BytePairMerger::Merge> merges;
  merges.reserve(vocabulary.merges.size());
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const auto& [left, right] = vocabulary.merges[i];
    const std::string joined = left + right;
    const auto left_id = ids.find(left);
    const auto right_id = ids.find(right);
    const auto result_id = ids.find(joined);
    if (left_id == ids.end() || right_id == ids.end() || result_id == ids.end()) {
      return bad("merge " + std::to_string(i) + " names or makes bytes that are no token");
    }
    merges.push_back({left_id->second, right_id->second, result_id->second});
  }
  return merges;
}

}  // namespace

Result<Tokenizer> Tokenizer::create(Vocabulary vocabulary) {
  BATON_RETURN_IF_ERROR(check(vocabulary));
  TokenIds ids;
  std::array<uint32_t, 256> byte_tokens;
  byte_tokens.fill(BytePairMerger::kNoToken);
  std::vector<uint32_t> special;
  for (uint32_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const std::string& token = vocabulary.tokens[i];
    if (vocabulary.kinds[i] == TokenKind::kSpecial) special.push_back(i);
    if (vocabulary.kinds[i] != TokenKind::kNormal) continue;
    if (!ids.emplace(token, i).second) return bad("token " + std::to_string(i) + " occurs twice");
    if (token.size() == 1) byte_tokens[static_cast<uint8_t>(token[0])] = i;
  }
  const auto merges = resolve_merges(vocabulary, ids);
  if (!merges.is_ok()) return merges.status();
  auto pre_tokenizer = PreTokenizer::create();
  if (!pre_tokenizer.is_ok()) return pre_tokenizer.status();

  Tokenizer tokenizer(std::move(*pre_tokenizer), BytePairMerger(byte_tokens, *merges));
  std::stable_sort(special.begin(), special.end(), [&](uint32_t a, uint32_t b) {
    return vocabulary.tokens[a].size() > vocabulary.tokens[b].size();
  });
  tokenizer.special_ = std::move(special);
  tokenizer.tokens_ = std::move(vocabulary.tokens);
  tokenizer.kinds_ = std::move(vocabulary.kinds);
  tokenizer.end_of_sequence_ = vocabulary.end_of_sequence;
  tokenizer.begin_of_sequence_ = vocabulary.begin_of_sequence;
  tokenizer.chat_system_prompt_ = std::move(vocabulary.chat_system_prompt);
  return tokenizer;
}

Result<std::vector<uint32_t>> Tokenizer::encode(std::string_view text) const {
  if (const auto at = find_invalid_utf8(text)) {
    return Status(
        StatusCode::kInvalidArgument,
        "the text is not UTF-8: byte " + hex_byte(text[*at]) + " at offset " + std::to_string(*at));
  }
  std::vector<uint32_t> tokens;
  if (text.empty()) return tokens;
  if (begin_of_sequence_) tokens.push_back(*begin_of_sequence_);
  size_t plain = 0;
  size_t at = 0;
  while (at < text.size()) {
    const auto special = match_special(text.substr(at));
    if (special) {
      encode_plain(text.substr(plain, at - plain), tokens);
      tokens.push_back(*special);
      at += tokens_[*special].size();
      plain = at;
      continue;
    }
    if (!merger_.has_byte(static_cast<uint8_t>(text[at]))) {
      return Status(StatusCode::kInvalidArgument, "the model has no token for byte " +
                                                      hex_byte(text[at]) + " at offset " +
                                                      std::to_string(at) + " of the text");
    }
    ++at;
  }
  encode_plain(text.substr(plain), tokens);
  return tokens;
}

std::optional<uint32_t> Tokenizer::match_special(std::string_view text) const {
  for (const uint32_t id : special_) {
    if (text.starts_with(tokens_[id])) return id;
  }
  return std::nullopt;
}

void Tokenizer::encode_plain(std::string_view text, std::vector<uint32_t>& tokens) const {
  for (const std::string_view piece : pre_tokenizer_.split(text)) merger_.encode(piece, tokens);
}

std::string_view Tokenizer::text_bytes(uint32_t token) const {
  ENGINE_ASSERT(token < tokens_.size());
  return kinds_[token] == TokenKind::kNormal ? std::string_view(tokens_[token])
                                             : std::string_view();
}

std::string Tokenizer::decode(std::span<const uint32_t> tokens) const {
  Utf8Stream stream;
  std::string text;
  for (const uint32_t token : tokens) text += stream.push(text_bytes(token));
  return text + stream.finish();
}

Result<std::string> Tokenizer::wrap_chat(std::string_view prompt) const {
  if (!chat_system_prompt_) {
    return Status(StatusCode::kUnavailable, "this model has no chat template of the ChatML form");
  }
  std::string text = "<|im_start|>system\n" + *chat_system_prompt_ + "<|im_end|>\n";
  text += "<|im_start|>user\n" + std::string(prompt) + "<|im_end|>\n";
  return text + "<|im_start|>assistant\n";
}

}  // namespace baton_engine
