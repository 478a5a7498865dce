#include "examples/reference_engine/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string>
#include <utility>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
using Code = std::unique_ptr<pcre2_code, FreeCode>;

struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
using Match = std::unique_ptr<pcre2_match_data, FreeMatch>;

constexpr std::string_view kDigit = R"(\p{N})";

// GPT-2's pattern with \s spelled out as Unicode's White_Space: PCRE2's own \s takes U+180E in.
#define BATON_ENGINE_SPACE                                                    \
  R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029})" \
  R"(\x{202f}\x{205f}\x{3000})"
constexpr std::string_view kWords =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{L}\p{N})" BATON_ENGINE_SPACE
    R"(]+|[)" BATON_ENGINE_SPACE R"(]+(?![^)" BATON_ENGINE_SPACE R"(])|[)" BATON_ENGINE_SPACE
    R"(]+)";
#undef BATON_ENGINE_SPACE

Result<Code> compile(std::string_view pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
  if (code == nullptr) {
    PCRE2_UCHAR text[128] = {};
    pcre2_get_error_message(error, text, sizeof(text));
    return Status(StatusCode::kUnavailable, "PCRE2 refuses the pre-tokenizer's pattern at " +
                                                std::to_string(offset) + ": " +
                                                reinterpret_cast<const char*>(text));
  }
  return code;
}

struct Range {
  size_t begin = 0;
  size_t end = 0;
};

// The first match at or after `from`, or an empty range at the end.
Range find(const pcre2_code* code, pcre2_match_data* match, std::string_view text, size_t from) {
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK, match, nullptr);
  if (found == PCRE2_ERROR_NOMATCH) return {text.size(), text.size()};
  // The patterns neither recurse nor backtrack by the character, so that no limit of PCRE2 is near.
  ENGINE_ASSERT(found > 0);
  const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(match);
  return {bounds[0], bounds[1]};
}

// Appends the matches of `code` and the parts between them.
void split_by(const pcre2_code* code, pcre2_match_data* match, std::string_view text,
              std::vector<std::string_view>& pieces) {
  size_t at = 0;
  while (at < text.size()) {
    const Range range = find(code, match, text, at);
    if (range.begin > at) pieces.push_back(text.substr(at, range.begin - at));
    if (range.end > range.begin)
      pieces.push_back(text.substr(range.begin, range.end - range.begin));
    at = range.end;
  }
}

}  // namespace

struct PreTokenizer::Patterns {
  Code digit;
  Code words;
};

PreTokenizer::PreTokenizer(std::unique_ptr<const Patterns> patterns)
    : patterns_(std::move(patterns)) {}
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

Result<PreTokenizer> PreTokenizer::create() {
  auto digit = compile(kDigit);
  if (!digit.is_ok()) return digit.status();
  auto words = compile(kWords);
  if (!words.is_ok()) return words.status();
  return PreTokenizer(
      std::make_unique<const Patterns>(Patterns{std::move(*digit), std::move(*words)}));
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  const Match match(pcre2_match_data_create(1, nullptr));
  ENGINE_ASSERT(match != nullptr);
  // The words' pattern sees each part between two digits alone: a space before a digit is its last.
  std::vector<std::string_view> parts;
  split_by(patterns_->digit.get(), match.get(), text, parts);
  std::vector<std::string_view> pieces;
  for (const std::string_view part : parts) {
    split_by(patterns_->words.get(), match.get(), part, pieces);
  }
  return pieces;
}

}  // namespace baton_engine
