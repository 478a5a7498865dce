#include "src/base/random.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "src/base/assert.h"

namespace baton::base {

uint64_t splitmix64(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t mixed = state;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

Random::Random(uint64_t seed) : state_{} {
  for (uint64_t& word : state_) word = splitmix64(seed);
}

uint64_t Random::next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::below(uint64_t bound) {
  BATON_ASSERT(bound > 0, "the range [0, bound) is not empty");
  // Values of the last, incomplete multiple of `bound` would favour small results: drawn again.
  const uint64_t reject_below = (0 - bound) % bound;
  for (;;) {
    const uint64_t value = next();
    if (value >= reject_below) return value % bound;
  }
}

uint64_t Random::between(uint64_t first, uint64_t last) {
  BATON_ASSERT(first <= last, "the range [first, last] is not empty");
  const uint64_t width = last - first;
  return width == UINT64_MAX ? next() : first + below(width + 1);
}

void Random::fill(std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const uint64_t value = next();
    const size_t count = std::min(bytes.size(), sizeof(value));
    std::memcpy(bytes.data(), &value, count);
    bytes = bytes.subspan(count);
  }
}

void secure_random_bytes(std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    BATON_ASSERT(got > 0, "getrandom(2) answers");
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
}

uint64_t secure_random_u64() {
  std::array<uint8_t, sizeof(uint64_t)> bytes{};
  secure_random_bytes(bytes);
  return std::bit_cast<uint64_t>(bytes);
}

}  // namespace baton::base
