// KvPool: the paged KV cache of one process: blocks of a fixed number of tokens, handed out from a
// free list. For each layer there is one K and one V region of num_blocks blocks, and within a
// region the blocks lie one after the other:
//
//   region(layer, tensor) = [num_blocks][block_tokens][kv_heads][head_dim]   NHD
//                           [num_blocks][kv_heads][block_tokens][head_dim]   HND
//
// Region (layer, tensor) begins at (2 * layer + tensor) * region_bytes(), K before V.
//
// Ownership: the memory is the pool's own, or the caller's (who keeps it until the pool is gone).
// Thread rule: allocate and release from any thread; the bytes of a block belong to whoever holds
// the block.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "baton/status.h"

namespace baton_engine {

enum class KvType : uint8_t { kBFloat16, kFloat32 };
enum class KvOrder : uint8_t { kNhd, kHnd };
enum class KvTensor : uint8_t { kKey = 0, kValue = 1 };

struct KvShape {
  uint32_t layers = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t num_blocks = 0;
  uint32_t block_tokens = 16;
  KvType type = KvType::kBFloat16;
  KvOrder order = KvOrder::kNhd;

  uint64_t element_bytes() const { return type == KvType::kBFloat16 ? 2 : 4; }
  // One head of one token.
  uint64_t head_bytes() const { return element_bytes() * head_dim; }
  // Also the distance from one block to the next of the same region.
  uint64_t block_bytes() const { return head_bytes() * kv_heads * block_tokens; }
  uint64_t region_bytes() const { return block_bytes() * num_blocks; }
  uint64_t pool_bytes() const { return region_bytes() * layers * 2; }
  // From the pool's first byte to block 0 of (layer, tensor). REQUIRES: layer < layers.
  uint64_t region_offset_bytes(uint32_t layer, KvTensor tensor) const;
  // From a block's first byte to one head of one of its tokens.
  uint64_t head_offset_bytes(uint32_t token, uint32_t head) const;
  uint32_t blocks_for(uint64_t tokens) const {
    return static_cast<uint32_t>((tokens + block_tokens - 1) / block_tokens);
  }
  // kInvalidArgument when a count is zero or the pool passes 2^40 bytes.
  baton::Status validate() const;
};

struct KvPoolOptions {
  KvShape shape;
  // Fill blocks with 0xff (NaN as bf16 and as f32) at the start and whenever they are released, so
  // that a read of a byte that nobody wrote shows. Costs a memset per block.
  bool poison = false;
};

class KvPool {
 public:
  // Allocates the memory itself, zeroed (or poisoned).
  static baton::Result<KvPool> create(const KvPoolOptions& options);
  // In the caller's memory, of at least shape.pool_bytes() and aligned to 64 bytes. Left as it is,
  // unless options.poison.
  static baton::Result<KvPool> create_in(const KvPoolOptions& options, std::span<uint8_t> memory);

  KvPool(KvPool&& other) noexcept;
  KvPool& operator=(KvPool&&) = delete;
  KvPool(const KvPool&) = delete;
  ~KvPool() = default;

  const KvShape& shape() const { return options_.shape; }
  std::span<uint8_t> memory() { return memory_; }
  std::span<const uint8_t> memory() const { return memory_; }

  // `count` blocks, or kExhausted and none. Blocks last released go out first.
  baton::Result<std::vector<uint32_t>> allocate(uint32_t count);
  // REQUIRES: each is allocated, and nothing reads or writes it any more.
  void release(std::span<const uint32_t> blocks);
  uint32_t free_blocks() const;
  // Bytes of these blocks that are not as `poison` fills them. Right after they were allocated, and
  // with that option: bytes that somebody wrote whom the blocks did not belong to.
  uint64_t count_written_bytes(std::span<const uint32_t> blocks) const;

  // REQUIRES: layer and block lie within the shape.
  uint8_t* block(uint32_t layer, KvTensor tensor, uint32_t block);
  const uint8_t* block(uint32_t layer, KvTensor tensor, uint32_t block) const;

  // Rounds some heads of head_dim floats each, from head `first_head` on, into the slot of `token`
  // (within its block).
  void store_token(uint32_t layer, KvTensor tensor, uint32_t block, uint32_t token,
                   std::span<const float> heads, uint32_t first_head = 0);
  // The first `tokens` tokens of one head, from the pages of `blocks`, to out[tokens][head_dim].
  void load_head(uint32_t layer, KvTensor tensor, std::span<const uint32_t> blocks, uint32_t head,
                 uint32_t tokens, float* out) const;

 private:
  KvPool(const KvPoolOptions& options, std::vector<uint8_t> owned, std::span<uint8_t> memory);
  void poison_block(uint32_t block);

  KvPoolOptions options_;
  std::vector<uint8_t> owned_;
  std::span<uint8_t> memory_;
  mutable std::mutex mutex_;
  std::vector<uint32_t> free_;
  std::vector<bool> allocated_;
};

}  // namespace baton_engine
