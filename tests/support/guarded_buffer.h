// GuardedBuffer: memory for a transfer test. It starts poisoned, and guard bytes on both sides tell
// of a write that missed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace baton_test {

class GuardedBuffer {
 public:
  static constexpr uint8_t kPoison = 0xa5;
  static constexpr uint8_t kGuard = 0x5c;
  static constexpr size_t kGuardBytes = 4096;

  // data() is 64-byte aligned, and filled with kPoison.
  explicit GuardedBuffer(size_t length_bytes);

  uint8_t* data() { return start_; }
  const uint8_t* data() const { return start_; }
  size_t size() const { return length_bytes_; }
  std::span<uint8_t> bytes() { return {start_, length_bytes_}; }
  std::span<const uint8_t> bytes() const { return {start_, length_bytes_}; }

  void poison();
  // Fills [offset, offset + length) with bytes that follow from `seed` and the position: a
  // misplaced one differs.
  void fill_pattern(uint64_t seed, size_t offset, size_t length);
  void fill_pattern(uint64_t seed) { fill_pattern(seed, 0, length_bytes_); }

  // Empty when every guard byte is as it was; otherwise names the first that is not.
  std::string check_guards() const;
  // Empty when [offset, offset + length) is all kPoison; otherwise names the first byte that is
  // not.
  std::string check_poisoned(size_t offset, size_t length) const;

 private:
  size_t length_bytes_;
  std::vector<uint8_t> storage_;
  uint8_t* start_;
};

// Empty when equal in length and in every byte; otherwise names the first difference and how many
// there are.
std::string compare_bytes(std::span<const uint8_t> expected, std::span<const uint8_t> actual);

}  // namespace baton_test
