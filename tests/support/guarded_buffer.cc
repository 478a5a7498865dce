#include "tests/support/guarded_buffer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace baton_test {
namespace {

constexpr size_t kAlignBytes = 64;

std::string describe(const char* what, size_t index, uint8_t expected, uint8_t actual) {
  return std::string(what) + " " + std::to_string(index) + " is " + std::to_string(actual) +
         ", expected " + std::to_string(expected);
}

// Buffers are looked at and filled in pieces of this size by memcmp and memcpy, which sanitizers
// check by the call and not by the byte: there are gigabytes.
constexpr size_t kPieceBytes = 4096;

std::string first_other(const char* what, std::span<const uint8_t> bytes, uint8_t expected) {
  std::array<uint8_t, kPieceBytes> piece;
  piece.fill(expected);
  size_t same = 0;
  while (same < bytes.size()) {
    const size_t length = std::min(kPieceBytes, bytes.size() - same);
    if (std::memcmp(bytes.data() + same, piece.data(), length) != 0) break;
    same += length;
  }
  const auto found = std::find_if(bytes.begin() + static_cast<ptrdiff_t>(same), bytes.end(),
                                  [=](uint8_t byte) { return byte != expected; });
  if (found == bytes.end()) return "";
  return describe(what, static_cast<size_t>(found - bytes.begin()), expected, *found);
}

#if defined(__clang__)
// Nobody else sees the piece that it fills.
__attribute__((no_sanitize("thread", "address")))
#endif
void make_pattern(uint64_t first, uint8_t* out, size_t length) {
  for (size_t i = 0; i < length; ++i) {
    uint64_t mixed = (first + i) * 0x9e3779b97f4a7c15u;
    mixed ^= mixed >> 32;
    out[i] = static_cast<uint8_t>(mixed * 0xd6e8feb86659fd93u >> 56);
  }
}

}  // namespace

GuardedBuffer::GuardedBuffer(size_t length_bytes)
    : length_bytes_(length_bytes),
      storage_(length_bytes + 2 * kGuardBytes + kAlignBytes, kGuard),
      start_(nullptr) {
  const auto first = reinterpret_cast<uintptr_t>(storage_.data()) + kGuardBytes;
  const size_t skip_bytes = (kAlignBytes - first % kAlignBytes) % kAlignBytes;
  start_ = storage_.data() + kGuardBytes + skip_bytes;
  poison();
}

void GuardedBuffer::poison() { std::fill(start_, start_ + length_bytes_, kPoison); }

void GuardedBuffer::fill_pattern(uint64_t seed, size_t offset, size_t length) {
  std::array<uint8_t, kPieceBytes> piece;
  for (size_t done = 0; done < length; done += kPieceBytes) {
    const size_t bytes = std::min(kPieceBytes, length - done);
    make_pattern(seed + offset + done, piece.data(), bytes);
    std::memcpy(start_ + offset + done, piece.data(), bytes);
  }
}

std::string GuardedBuffer::check_guards() const {
  const size_t before_bytes = static_cast<size_t>(start_ - storage_.data());
  std::string bad =
      first_other("guard byte before the buffer", {storage_.data(), before_bytes}, kGuard);
  if (!bad.empty()) return bad;
  const uint8_t* end = start_ + length_bytes_;
  const size_t after_bytes = storage_.size() - before_bytes - length_bytes_;
  return first_other("guard byte after the buffer", {end, after_bytes}, kGuard);
}

std::string GuardedBuffer::check_poisoned(size_t offset, size_t length) const {
  const std::string bad = first_other("poisoned byte", {start_ + offset, length}, kPoison);
  return bad.empty() ? bad : bad + ", counted from " + std::to_string(offset);
}

std::string compare_bytes(std::span<const uint8_t> expected, std::span<const uint8_t> actual) {
  if (expected.size() != actual.size()) {
    return "length is " + std::to_string(actual.size()) + ", expected " +
           std::to_string(expected.size());
  }
  size_t differences = 0;
  std::string first;
  for (size_t begin = 0; begin < expected.size(); begin += kPieceBytes) {
    const size_t end = std::min(expected.size(), begin + kPieceBytes);
    if (std::memcmp(expected.data() + begin, actual.data() + begin, end - begin) == 0) continue;
    for (size_t i = begin; i < end; ++i) {
      if (expected[i] == actual[i]) continue;
      if (differences++ == 0) first = describe("byte", i, expected[i], actual[i]);
    }
  }
  if (differences == 0) return "";
  return first + "; " + std::to_string(differences) + " bytes differ";
}

}  // namespace baton_test
