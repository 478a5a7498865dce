#include "examples/reference_engine/sequence.h"

#include <utility>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

Result<Sequence> Sequence::create(KvPool& pool, uint32_t capacity_tokens) {
  if (capacity_tokens == 0) {
    return Status(StatusCode::kInvalidArgument, "a sequence needs room for at least one token");
  }
  auto blocks = pool.allocate(pool.shape().blocks_for(capacity_tokens));
  if (!blocks.is_ok()) return blocks.status();
  return Sequence(pool, std::move(*blocks), capacity_tokens);
}

Sequence::Sequence(Sequence&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      blocks_(std::move(other.blocks_)),
      capacity_tokens_(other.capacity_tokens_),
      length_tokens_(other.length_tokens_) {}

Sequence& Sequence::operator=(Sequence&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(blocks_, other.blocks_);
  std::swap(capacity_tokens_, other.capacity_tokens_);
  std::swap(length_tokens_, other.length_tokens_);
  return *this;
}

Sequence::~Sequence() {
  if (pool_ != nullptr) pool_->release(blocks_);
}

void Sequence::advance(uint32_t count) {
  ENGINE_ASSERT(count <= capacity_tokens_ - length_tokens_);
  length_tokens_ += count;
}

void Sequence::store_token(uint32_t layer, KvTensor tensor, uint32_t position,
                           std::span<const float> heads, uint32_t first_head) {
  ENGINE_ASSERT(position < capacity_tokens_);
  const uint32_t block_tokens = pool_->shape().block_tokens;
  pool_->store_token(layer, tensor, blocks_[position / block_tokens], position % block_tokens,
                     heads, first_head);
}

}  // namespace baton_engine
