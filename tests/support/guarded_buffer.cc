#include "tests/support/guarded_buffer.h"

#include <algorithm>

namespace baton_test {
namespace {

constexpr size_t kAlignBytes = 64;

std::string describe(const char* what, size_t index, uint8_t expected, uint8_t actual) {
  return std::string(what) + " " + std::to_string(index) + " is " + std::to_string(actual) +
         ", expected " + std::to_string(expected);
}

std::string first_other(const char* what, std::span<const uint8_t> bytes, uint8_t expected) {
  const auto found =
      std::find_if(bytes.begin(), bytes.end(), [=](uint8_t byte) { return byte != expected; });
  if (found == bytes.end()) return "";
  return describe(what, static_cast<size_t>(found - bytes.begin()), expected, *found);
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
  for (size_t i = offset; i < offset + length; ++i) {
    uint64_t mixed = (seed + i) * 0x9e3779b97f4a7c15u;
    mixed ^= mixed >> 32;
    start_[i] = static_cast<uint8_t>(mixed * 0xd6e8feb86659fd93u >> 56);
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
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == actual[i]) continue;
    if (differences++ == 0) first = describe("byte", i, expected[i], actual[i]);
  }
  if (differences == 0) return "";
  return first + "; " + std::to_string(differences) + " bytes differ";
}

}  // namespace baton_test
