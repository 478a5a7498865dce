// RankCache: the KV of one rank under tensor parallelism: all tokens, and a slice of the heads.
// Every byte follows from (seed, layer, tensor, token, head, position), so that a rank can check
// what others sent without hearing from them.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/context.h"
#include "tests/support/guarded_buffer.h"

namespace baton_test {

struct HeadSlice {
  uint32_t first = 0;
  uint32_t count = 0;
};

class RankCache {
 public:
  static constexpr uint32_t kLayers = 4;
  static constexpr uint32_t kTensors = 2;
  static constexpr uint32_t kBlockTokens = 16;
  static constexpr uint32_t kBlocks = 96;
  static constexpr uint32_t kHeadsTotal = 3;
  static constexpr uint32_t kRowBytes = 256;
  static constexpr baton::TokenRange kTokens{0, 80 * kBlockTokens};

  // Poisoned. `name` as published.
  RankCache(baton::Context& context, const std::string& name, HeadSlice heads);

  baton::CacheId id() const { return cache_.id(); }
  // 80 blocks; each rank places its own elsewhere.
  const std::vector<uint32_t>& blocks() const { return blocks_; }

  void fill(uint64_t seed);
  // Empty when heads [first, first + count) hold what `seed` gives, complete in the first
  // `layers` layers, and either that or poison in the others; otherwise how many bytes do not.
  std::string check(uint64_t seed, HeadSlice heads, uint32_t layers) const;
  // Empty when nothing but the rows of kTokens was written.
  std::string check_rest() const;

 private:
  uint64_t row_offset(uint32_t layer, uint32_t tensor, uint32_t token, uint32_t head) const;

  HeadSlice heads_;
  std::vector<uint32_t> blocks_;
  GuardedBuffer memory_;
  baton::Section section_;
  baton::KvCache cache_;
};

}  // namespace baton_test
