// BytePairMerger: byte-pair encoding of one piece: starts from single bytes and applies the merge
// of the lowest rank, leftmost first, until none applies.
//
// Source: Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units"
// (2016). Thread rule: const use from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace baton_engine {

class BytePairMerger {
 public:
  static constexpr uint32_t kNoToken = UINT32_MAX;

  struct Merge {
    uint32_t left = 0;
    uint32_t right = 0;
    uint32_t result = 0;
  };

  // `byte_tokens[b]` is the token of the single byte b, or kNoToken. `merges` in order of rank.
  BytePairMerger(const std::array<uint32_t, 256>& byte_tokens, const std::vector<Merge>& merges);

  bool has_byte(uint8_t byte) const { return byte_tokens_[byte] != kNoToken; }

  // Appends the tokens of `piece`. O(n log n). REQUIRES: has_byte() of each of its bytes.
  void encode(std::string_view piece, std::vector<uint32_t>& tokens) const;

 private:
  struct Ranked {
    uint32_t rank = 0;
    uint32_t result = 0;
  };
  struct Symbol;
  struct Candidate;

  static uint64_t pair_key(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }
  const Ranked* find(uint32_t left, uint32_t right) const;

  std::array<uint32_t, 256> byte_tokens_;
  std::unordered_map<uint64_t, Ranked> merges_;
};

}  // namespace baton_engine
