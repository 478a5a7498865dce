// PreTokenizer: cuts text into the pieces that byte-pair merges may not cross, as SmolLM2's
// tokenizer does: every digit alone, and the rest by GPT-2's pattern (contractions, words with
// their leading space, runs of other signs, runs of white space), on PCRE2 with Unicode classes.
//
// Thread rule: const use from any thread.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "baton/status.h"

namespace baton_engine {

class PreTokenizer {
 public:
  static baton::Result<PreTokenizer> create();

  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  // The pieces of `text` in order; joined they are the text. REQUIRES: valid UTF-8.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Patterns;
  explicit PreTokenizer(std::unique_ptr<const Patterns> patterns);

  std::unique_ptr<const Patterns> patterns_;
};

}  // namespace baton_engine
