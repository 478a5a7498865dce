// Byte-for-byte comparison of two runs of one request.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/sequence.h"

namespace baton_engine {

struct Difference {
  uint64_t compared = 0;
  uint64_t different = 0;
};

// All KV bytes of a sequence's blocks, in one order whatever the blocks:
// [layer][K, V][token][head][head_bytes], with the tokens behind those that it holds.
struct KvImage {
  uint32_t layers = 0;
  uint32_t heads = 0;
  uint64_t head_bytes = 0;
  uint32_t held_tokens = 0;
  uint32_t end_tokens = 0;
  std::vector<uint8_t> bytes;
};

KvImage kv_image(const Sequence& sequence);
std::vector<uint8_t> encode(const KvImage& image);
// kProtocolError when the bytes are not as many as it says.
baton::Result<KvImage> decode_kv_image(std::span<const uint8_t> bytes);

// Every KV byte of the tokens that both hold, of heads [head_first, head_first + part.heads) of
// `whole`; and, of `part` behind those tokens, that every byte is still `poison`: what nobody was
// granted, nobody wrote. REQUIRES: equal layers and dtype, equal length_tokens(), and that `whole`
// has these heads.
Difference compare_kv(const Sequence& whole, const KvImage& part, uint32_t head_first,
                      uint8_t poison);

// The same of two sequences with the same heads, which may differ in block size.
Difference compare_kv(const Sequence& a, const Sequence& b, uint8_t poison);

// By their bits. Values that only one of the two has count as different.
Difference compare_logits(std::span<const float> a, std::span<const float> b);

}  // namespace baton_engine
