#include "examples/reference_engine/kv_pool.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "examples/reference_engine/engine_assert.h"
#include "examples/reference_engine/number_formats.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint64_t kMaxPoolBytes = uint64_t{1} << 40;
constexpr int kPoison = 0xff;
constexpr uintptr_t kAlignmentBytes = 64;

}  // namespace

uint64_t KvShape::region_offset_bytes(uint32_t layer, KvTensor tensor) const {
  ENGINE_ASSERT(layer < layers);
  return (uint64_t{layer} * 2 + static_cast<uint64_t>(tensor)) * region_bytes();
}

uint64_t KvShape::head_offset_bytes(uint32_t token, uint32_t head) const {
  const uint64_t index = order == KvOrder::kNhd ? uint64_t{token} * kv_heads + head
                                                : uint64_t{head} * block_tokens + token;
  return index * head_bytes();
}

Status KvShape::validate() const {
  // The bytes of one factor after the other, so that the product cannot wrap round unseen.
  const struct {
    const char* name;
    uint64_t value;
  } factors[] = {{"layers", layers},
                 {"kv_heads", kv_heads},
                 {"head_dim", head_dim},
                 {"num_blocks", num_blocks},
                 {"block_tokens", block_tokens}};
  uint64_t bytes = 2 * element_bytes();
  for (const auto& factor : factors) {
    if (factor.value == 0) {
      return Status(StatusCode::kInvalidArgument, std::string("KV pool: ") + factor.name + " is 0");
    }
    if (factor.value > kMaxPoolBytes / bytes) {
      return Status(StatusCode::kInvalidArgument,
                    std::string("KV pool: larger than 2^40 bytes with ") + factor.name + " of " +
                        std::to_string(factor.value));
    }
    bytes *= factor.value;
  }
  return Status::ok();
}

Result<KvPool> KvPool::create(const KvPoolOptions& options) {
  BATON_RETURN_IF_ERROR(options.shape.validate());
  std::vector<uint8_t> owned;
  try {
    owned.resize(options.shape.pool_bytes());
  } catch (const std::bad_alloc&) {
    return Status(
        StatusCode::kExhausted,
        "KV pool: no memory for " + std::to_string(options.shape.pool_bytes()) + " bytes");
  }
  const std::span<uint8_t> memory(owned);
  return KvPool(options, std::move(owned), memory);
}

Result<KvPool> KvPool::create_in(const KvPoolOptions& options, std::span<uint8_t> memory) {
  BATON_RETURN_IF_ERROR(options.shape.validate());
  if (memory.size() < options.shape.pool_bytes()) {
    return Status(StatusCode::kInvalidArgument,
                  "KV pool: the memory given has " + std::to_string(memory.size()) +
                      " bytes, the shape needs " + std::to_string(options.shape.pool_bytes()));
  }
  if (reinterpret_cast<uintptr_t>(memory.data()) % kAlignmentBytes != 0) {
    return Status(StatusCode::kInvalidArgument,
                  "KV pool: the memory given is not aligned to 64 bytes");
  }
  return KvPool(options, {}, memory.first(options.shape.pool_bytes()));
}

KvPool::KvPool(const KvPoolOptions& options, std::vector<uint8_t> owned, std::span<uint8_t> memory)
    : options_(options), owned_(std::move(owned)), memory_(memory) {
  const uint32_t count = options_.shape.num_blocks;
  free_.resize(count);
  // Block 0 goes out first.
  for (uint32_t i = 0; i < count; ++i) free_[i] = count - 1 - i;
  allocated_.assign(count, false);
  if (options_.poison) std::memset(memory_.data(), kPoison, memory_.size());
}

KvPool::KvPool(KvPool&& other) noexcept
    : options_(other.options_),
      owned_(std::move(other.owned_)),
      memory_(std::exchange(other.memory_, {})),
      free_(std::move(other.free_)),
      allocated_(std::move(other.allocated_)) {}

Result<std::vector<uint32_t>> KvPool::allocate(uint32_t count) {
  const std::lock_guard lock(mutex_);
  if (count > free_.size()) {
    return Status(StatusCode::kExhausted, "KV pool: " + std::to_string(count) +
                                              " blocks asked for, " + std::to_string(free_.size()) +
                                              " of " + std::to_string(shape().num_blocks) +
                                              " are free");
  }
  std::vector<uint32_t> blocks(free_.rbegin(), free_.rbegin() + count);
  free_.resize(free_.size() - count);
  for (const uint32_t block : blocks) allocated_[block] = true;
  return blocks;
}

void KvPool::release(std::span<const uint32_t> blocks) {
  if (options_.poison) {
    for (const uint32_t block : blocks) poison_block(block);
  }
  const std::lock_guard lock(mutex_);
  for (size_t i = blocks.size(); i-- > 0;) {
    ENGINE_ASSERT(blocks[i] < shape().num_blocks && allocated_[blocks[i]]);
    allocated_[blocks[i]] = false;
    free_.push_back(blocks[i]);
  }
}

uint32_t KvPool::free_blocks() const {
  const std::lock_guard lock(mutex_);
  return static_cast<uint32_t>(free_.size());
}

uint64_t KvPool::count_written_bytes(std::span<const uint32_t> blocks) const {
  const auto length = static_cast<std::ptrdiff_t>(shape().block_bytes());
  uint64_t count = 0;
  for (uint32_t layer = 0; layer < shape().layers; ++layer) {
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (const uint32_t index : blocks) {
        const uint8_t* bytes = block(layer, tensor, index);
        count += static_cast<uint64_t>(length - std::count(bytes, bytes + length, kPoison));
      }
    }
  }
  return count;
}

void KvPool::poison_block(uint32_t block_index) {
  for (uint32_t layer = 0; layer < shape().layers; ++layer) {
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      std::memset(block(layer, tensor, block_index), kPoison, shape().block_bytes());
    }
  }
}

const uint8_t* KvPool::block(uint32_t layer, KvTensor tensor, uint32_t block_index) const {
  ENGINE_ASSERT(block_index < shape().num_blocks);
  return memory_.data() + shape().region_offset_bytes(layer, tensor) +
         shape().block_bytes() * block_index;
}

uint8_t* KvPool::block(uint32_t layer, KvTensor tensor, uint32_t block_index) {
  return const_cast<uint8_t*>(std::as_const(*this).block(layer, tensor, block_index));
}

void KvPool::store_token(uint32_t layer, KvTensor tensor, uint32_t block_index, uint32_t token,
                         std::span<const float> heads, uint32_t first_head) {
  const KvShape& form = shape();
  const auto count = static_cast<uint32_t>(heads.size() / form.head_dim);
  ENGINE_ASSERT(token < form.block_tokens && heads.size() % form.head_dim == 0);
  ENGINE_ASSERT(first_head <= form.kv_heads && count <= form.kv_heads - first_head);
  uint8_t* const base = block(layer, tensor, block_index);
  for (uint32_t head = 0; head < count; ++head) {
    const float* from = heads.data() + size_t{head} * form.head_dim;
    uint8_t* to = base + form.head_offset_bytes(token, first_head + head);
    if (form.type == KvType::kFloat32) {
      std::memcpy(to, from, form.head_bytes());
      continue;
    }
    for (uint32_t i = 0; i < form.head_dim; ++i) {
      const uint16_t bits = float_to_bfloat16(from[i]);
      std::memcpy(to + size_t{2} * i, &bits, sizeof(bits));
    }
  }
}

void KvPool::load_head(uint32_t layer, KvTensor tensor, std::span<const uint32_t> blocks,
                       uint32_t head, uint32_t tokens, float* out) const {
  const KvShape& form = shape();
  ENGINE_ASSERT(form.blocks_for(tokens) <= blocks.size());
  for (uint32_t first = 0; first < tokens; first += form.block_tokens) {
    const uint8_t* const base = block(layer, tensor, blocks[first / form.block_tokens]);
    const uint32_t count = std::min(form.block_tokens, tokens - first);
    for (uint32_t token = 0; token < count; ++token, out += form.head_dim) {
      const uint8_t* from = base + form.head_offset_bytes(token, head);
      if (form.type == KvType::kFloat32) {
        std::memcpy(out, from, form.head_bytes());
        continue;
      }
      for (uint32_t i = 0; i < form.head_dim; ++i) {
        uint16_t bits = 0;
        std::memcpy(&bits, from + size_t{2} * i, sizeof(bits));
        out[i] = bfloat16_to_float(bits);
      }
    }
  }
}

}  // namespace baton_engine
