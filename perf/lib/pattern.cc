#include "perf/lib/pattern.h"

#include <algorithm>
#include <cstring>

namespace baton_perf {
namespace {

// splitmix64 of the word's index: neighbouring words share no visible structure, so a run that
// lands one word, line or page off never passes.
uint64_t pattern_word(uint64_t seed, uint64_t word_index) {
  uint64_t x = seed + (word_index + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Calls step(position, source, length) for the pieces of words that cover `size_bytes` from
// `offset_bytes`, until it returns false.
template <typename Step>
void for_each_piece(uint64_t size_bytes, uint64_t seed, uint64_t offset_bytes, Step step) {
  uint64_t done = 0;
  while (done < size_bytes) {
    const uint64_t at = offset_bytes + done;
    const uint64_t word = pattern_word(seed, at / 8);
    const uint64_t skip = at % 8;
    const uint64_t length = std::min<uint64_t>(8 - skip, size_bytes - done);
    if (!step(done, reinterpret_cast<const uint8_t*>(&word) + skip, length)) return;
    done += length;
  }
}

}  // namespace

void fill_pattern(std::span<uint8_t> bytes, uint64_t seed, uint64_t offset_bytes) {
  for_each_piece(bytes.size(), seed, offset_bytes,
                 [&](uint64_t position, const uint8_t* source, uint64_t length) {
                   std::memcpy(bytes.data() + position, source, length);
                   return true;
                 });
}

std::optional<uint64_t> find_pattern_difference(std::span<const uint8_t> bytes, uint64_t seed,
                                                uint64_t offset_bytes) {
  std::optional<uint64_t> found;
  for_each_piece(bytes.size(), seed, offset_bytes,
                 [&](uint64_t position, const uint8_t* source, uint64_t length) {
                   const uint8_t* actual = bytes.data() + position;
                   if (std::memcmp(actual, source, length) == 0) return true;
                   const auto differs = std::mismatch(actual, actual + length, source);
                   found = position + static_cast<uint64_t>(differs.first - actual);
                   return false;
                 });
  return found;
}

std::optional<uint64_t> find_other_byte(std::span<const uint8_t> bytes, uint8_t value) {
  if (bytes.empty()) return std::nullopt;
  // All bytes are equal to the first if each is equal to the one after it.
  if (bytes[0] == value && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0) {
    return std::nullopt;
  }
  const auto found =
      std::find_if(bytes.begin(), bytes.end(), [&](uint8_t b) { return b != value; });
  return static_cast<uint64_t>(found - bytes.begin());
}

}  // namespace baton_perf
