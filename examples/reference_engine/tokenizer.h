// Tokenizer: byte-level BPE, both ways, and the model's chat form.
//
// Invariants:
//  1. encode() never changes a byte: the bytes of the tokens, joined, are the text.
//  2. A text that spells a special token ("<|im_end|>") yields that token, as with the model's own
//     tokenizer.
//
// Thread rule: const use from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/byte_pair_merger.h"
#include "examples/reference_engine/pre_tokenizer.h"

namespace baton_engine {

enum class TokenKind : uint8_t {
  kNormal,
  kSpecial,  // matched literally in text, never produced by merges
  kUnused,   // neither
};

struct Vocabulary {
  // Token i is the bytes tokens[i]. As many kinds as tokens.
  std::vector<std::string> tokens;
  std::vector<TokenKind> kinds;
  // Left and right bytes of each merge, in order of rank. Each side and their join must be normal
  // tokens.
  std::vector<std::pair<std::string, std::string>> merges;
  uint32_t end_of_sequence = 0;
  // Put before every text, when set.
  std::optional<uint32_t> begin_of_sequence;
  // The default system prompt of a ChatML model; unset when the model has no such chat form.
  std::optional<std::string> chat_system_prompt;
};

class Tokenizer {
 public:
  // kInvalidArgument names the token or merge that is wrong.
  static baton::Result<Tokenizer> create(Vocabulary vocabulary);

  uint32_t vocabulary_size() const { return static_cast<uint32_t>(tokens_.size()); }
  uint32_t end_of_sequence() const { return end_of_sequence_; }

  // kInvalidArgument, with the byte offset, when `text` is not UTF-8 or holds a byte for which the
  // model has no token (SmolLM2 lacks six control characters and planes 4 to 11). An empty text
  // gives no tokens.
  baton::Result<std::vector<uint32_t>> encode(std::string_view text) const;

  // The bytes that `token` stands for; none for a special token. REQUIRES: token <
  // vocabulary_size().
  std::string_view text_bytes(uint32_t token) const;
  // The whole text of `tokens`, without special tokens, ill-formed UTF-8 replaced by U+FFFD. Use
  // Utf8Stream on text_bytes() to print token by token. REQUIRES: as text_bytes().
  std::string decode(std::span<const uint32_t> tokens) const;

  // `prompt` as the user's message after the default system prompt, ready for the assistant's
  // answer. kUnavailable when the model has no ChatML form.
  baton::Result<std::string> wrap_chat(std::string_view prompt) const;

 private:
  Tokenizer(PreTokenizer pre_tokenizer, BytePairMerger merger)
      : pre_tokenizer_(std::move(pre_tokenizer)), merger_(std::move(merger)) {}

  // The special token that `text` begins with, the longest of several, or none.
  std::optional<uint32_t> match_special(std::string_view text) const;
  void encode_plain(std::string_view text, std::vector<uint32_t>& tokens) const;

  PreTokenizer pre_tokenizer_;
  BytePairMerger merger_;
  std::vector<std::string> tokens_;
  std::vector<TokenKind> kinds_;
  std::vector<uint32_t> special_;  // longest first
  uint32_t end_of_sequence_ = 0;
  std::optional<uint32_t> begin_of_sequence_;
  std::optional<std::string> chat_system_prompt_;
};

}  // namespace baton_engine
