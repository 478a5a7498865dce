// Random: a small seeded generator (xoshiro256**, seeded by SplitMix64), the same sequence on every
// machine; and bytes of the kernel's generator, for whatever an attacker must not guess.
//
// Sources: Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2021); Steele,
// Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace baton::base {

// One step of SplitMix64: advances `state` and returns the next value. Also a good 64-bit mixer.
uint64_t splitmix64(uint64_t& state);

// Thread rule: externally synchronised. Not for secrets.
class Random {
 public:
  explicit Random(uint64_t seed);

  // Uniform in [0, 2^64).
  uint64_t next();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t below(uint64_t bound);
  // Uniform in [first, last]. REQUIRES: first <= last.
  uint64_t between(uint64_t first, uint64_t last);
  // True in `numerator` of `denominator` cases. REQUIRES: denominator > 0.
  bool chance(uint64_t numerator, uint64_t denominator) { return below(denominator) < numerator; }
  void fill(std::span<uint8_t> bytes);

 private:
  std::array<uint64_t, 4> state_;
};

// From getrandom(2); thread-safe. Blocks only before the kernel's generator is first seeded (early
// boot); a kernel without it is an assertion.
void secure_random_bytes(std::span<uint8_t> bytes);
uint64_t secure_random_u64();

}  // namespace baton::base
