#include "examples/reference_engine/engine_compare.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace baton_engine {

namespace {

const uint8_t* head_of(const Sequence& sequence, uint32_t layer, KvTensor tensor, uint32_t token,
                       uint32_t head) {
  const KvPool& pool = sequence.pool();
  const KvShape& shape = pool.shape();
  const uint32_t block = sequence.blocks()[token / shape.block_tokens];
  return pool.block(layer, tensor, block) +
         shape.head_offset_bytes(token % shape.block_tokens, head);
}

uint64_t count_different(const uint8_t* a, const uint8_t* b, uint64_t length) {
  if (std::memcmp(a, b, length) == 0) return 0;
  uint64_t count = 0;
  for (uint64_t i = 0; i < length; ++i) count += a[i] != b[i] ? 1 : 0;
  return count;
}

}  // namespace

Difference compare_kv(const Sequence& a, const Sequence& b, uint8_t poison) {
  const KvShape& shape = b.pool().shape();
  const uint32_t held = b.length_tokens();
  const uint32_t end = static_cast<uint32_t>(b.blocks().size()) * shape.block_tokens;
  Difference out;
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (uint32_t token = 0; token < end; ++token) {
        for (uint32_t head = 0; head < shape.kv_heads; ++head) {
          const uint8_t* bytes = head_of(b, layer, tensor, token, head);
          const uint64_t length = shape.head_bytes();
          out.compared += length;
          if (token < held) {
            out.different += count_different(head_of(a, layer, tensor, token, head), bytes, length);
          } else {
            out.different +=
                length - static_cast<uint64_t>(std::count(bytes, bytes + length, poison));
          }
        }
      }
    }
  }
  return out;
}

Difference compare_logits(std::span<const float> a, std::span<const float> b) {
  const size_t both = std::min(a.size(), b.size());
  Difference out;
  out.compared = std::max(a.size(), b.size());
  out.different = out.compared - both;
  for (size_t i = 0; i < both; ++i) {
    out.different += std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]) ? 1U : 0U;
  }
  return out;
}

}  // namespace baton_engine
