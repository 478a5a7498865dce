// Byte-for-byte comparison of two runs of one request.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "examples/reference_engine/sequence.h"

namespace baton_engine {

struct Difference {
  uint64_t compared = 0;
  uint64_t different = 0;
};

// Every KV byte of the tokens that both hold (`a` and `b` may differ in block size), and, in the
// blocks of `b` behind those tokens, that every byte is still `poison`: what nobody was granted,
// nobody wrote. REQUIRES: equal layers, heads and dtype; equal length_tokens().
Difference compare_kv(const Sequence& a, const Sequence& b, uint8_t poison);

// By their bits. Values that only one of the two has count as different.
Difference compare_logits(std::span<const float> a, std::span<const float> b);

}  // namespace baton_engine
