// Sequence: one request's place in the KV pool: its blocks, and how many tokens they hold.
//
// Ownership: gives its blocks back on destruction; the pool outlives it. Thread rule: externally
// synchronised.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/kv_pool.h"

namespace baton_engine {

class Sequence {
 public:
  // Takes the blocks for `capacity_tokens` >= 1 at once, so that a request that has begun can end.
  // kExhausted when the pool has too few.
  static baton::Result<Sequence> create(KvPool& pool, uint32_t capacity_tokens);

  Sequence(Sequence&& other) noexcept;
  Sequence& operator=(Sequence&& other) noexcept;
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;
  ~Sequence();

  KvPool& pool() const { return *pool_; }
  // In order of position: token p lies in blocks()[p / block_tokens].
  std::span<const uint32_t> blocks() const { return blocks_; }
  uint32_t capacity_tokens() const { return capacity_tokens_; }
  uint32_t length_tokens() const { return length_tokens_; }

  // Says that the KV of `count` more tokens is in place: the forward pass after its own append, and
  // whoever received it from elsewhere. REQUIRES: the capacity holds them.
  void advance(uint32_t count);

  // Writes the K or V of some heads, from `first_head` of the pool on, of the token at `position`,
  // which must lie within the capacity.
  void store_token(uint32_t layer, KvTensor tensor, uint32_t position, std::span<const float> heads,
                   uint32_t first_head = 0);

 private:
  Sequence(KvPool& pool, std::vector<uint32_t> blocks, uint32_t capacity_tokens)
      : pool_(&pool), blocks_(std::move(blocks)), capacity_tokens_(capacity_tokens) {}

  KvPool* pool_ = nullptr;
  std::vector<uint32_t> blocks_;
  uint32_t capacity_tokens_ = 0;
  uint32_t length_tokens_ = 0;
};

}  // namespace baton_engine
