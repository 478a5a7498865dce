// Pattern: the content that a verified pass moves, a function of (seed, offset) alone, so that
// either side can make and check it without the other's bytes.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace baton_perf {

// What the target holds before a verified pass.
inline constexpr uint8_t kPoisonByte = 0xa5;

// Fills `bytes` with the pattern of [offset, offset + size).
void fill_pattern(std::span<uint8_t> bytes, uint64_t seed, uint64_t offset_bytes);
// Index of the first byte that differs from the pattern, or nothing. Looks at every byte.
std::optional<uint64_t> find_pattern_difference(std::span<const uint8_t> bytes, uint64_t seed,
                                                uint64_t offset_bytes);
// Index of the first byte that is not `value`, or nothing.
std::optional<uint64_t> find_other_byte(std::span<const uint8_t> bytes, uint8_t value);

}  // namespace baton_perf
