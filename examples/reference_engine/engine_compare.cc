#include "examples/reference_engine/engine_compare.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

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

// In front of an image's bytes, between processes of one machine.
struct ImageHeader {
  uint64_t head_bytes = 0;
  uint32_t layers = 0;
  uint32_t heads = 0;
  uint32_t held_tokens = 0;
  uint32_t end_tokens = 0;
};

uint64_t image_bytes(const KvImage& image) {
  return uint64_t{image.layers} * 2 * image.end_tokens * image.heads * image.head_bytes;
}

}  // namespace

KvImage kv_image(const Sequence& sequence) {
  const KvShape& shape = sequence.pool().shape();
  KvImage image;
  image.layers = shape.layers;
  image.heads = shape.kv_heads;
  image.head_bytes = shape.head_bytes();
  image.held_tokens = sequence.length_tokens();
  image.end_tokens = static_cast<uint32_t>(sequence.blocks().size()) * shape.block_tokens;
  image.bytes.reserve(image_bytes(image));
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (uint32_t token = 0; token < image.end_tokens; ++token) {
        for (uint32_t head = 0; head < shape.kv_heads; ++head) {
          const uint8_t* bytes = head_of(sequence, layer, tensor, token, head);
          image.bytes.insert(image.bytes.end(), bytes, bytes + image.head_bytes);
        }
      }
    }
  }
  return image;
}

std::vector<uint8_t> encode(const KvImage& image) {
  const ImageHeader header{image.head_bytes, image.layers, image.heads, image.held_tokens,
                           image.end_tokens};
  std::vector<uint8_t> out(sizeof(header) + image.bytes.size());
  std::memcpy(out.data(), &header, sizeof(header));
  std::copy(image.bytes.begin(), image.bytes.end(), out.begin() + sizeof(header));
  return out;
}

baton::Result<KvImage> decode_kv_image(std::span<const uint8_t> bytes) {
  ImageHeader header;
  KvImage image;
  if (bytes.size() >= sizeof(header)) {
    std::memcpy(&header, bytes.data(), sizeof(header));
    const auto rest = bytes.subspan(sizeof(header));
    image = {header.layers,      header.heads,      header.head_bytes,
             header.held_tokens, header.end_tokens, {rest.begin(), rest.end()}};
    if (image.bytes.size() == image_bytes(image)) return image;
  }
  return baton::Status(baton::StatusCode::kProtocolError,
                       "an image of KV in " + std::to_string(bytes.size()) + " bytes");
}

Difference compare_kv(const Sequence& whole, const KvImage& part, uint32_t head_first,
                      uint8_t poison) {
  const uint64_t length = part.head_bytes;
  const uint8_t* bytes = part.bytes.data();
  Difference out;
  for (uint32_t layer = 0; layer < part.layers; ++layer) {
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (uint32_t token = 0; token < part.end_tokens; ++token) {
        for (uint32_t head = 0; head < part.heads; ++head, bytes += length) {
          out.compared += length;
          if (token < part.held_tokens) {
            out.different += count_different(
                head_of(whole, layer, tensor, token, head_first + head), bytes, length);
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

Difference compare_kv(const Sequence& a, const Sequence& b, uint8_t poison) {
  return compare_kv(a, kv_image(b), 0, poison);
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
