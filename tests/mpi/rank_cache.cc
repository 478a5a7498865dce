#include "tests/mpi/rank_cache.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>

namespace baton_test {
namespace {

uint64_t block_bytes(HeadSlice heads) {
  return uint64_t{RankCache::kBlockTokens} * heads.count * RankCache::kRowBytes;
}

uint64_t pool_bytes(HeadSlice heads) {
  return block_bytes(heads) * RankCache::kBlocks * RankCache::kLayers * RankCache::kTensors;
}

template <typename T>
T take(baton::Result<T> result, const char* what) {
  if (!result.is_ok()) {
    std::fprintf(stderr, "%s failed: %s\n", what, result.status().to_string().c_str());
    std::abort();
  }
  return std::move(result).value();
}

struct Row {
  uint64_t seed;
  uint32_t layer;
  uint32_t tensor;
  uint32_t token;
  uint32_t head;
};

// splitmix64 of the row's place: neighbours have nothing in common.
uint64_t row_word(const Row& row) {
  uint64_t x = row.seed * 0x9e3779b97f4a7c15u + row.layer;
  for (const uint32_t part : {row.tensor, row.token, row.head}) {
    x = (x ^ part) * 0xbf58476d1ce4e5b9u;
    x ^= x >> 29;
  }
  return x;
}

uint8_t byte_of(uint64_t word, uint32_t position) {
  return static_cast<uint8_t>((word + position * 0x94d049bb133111ebu) >> 56);
}

}  // namespace

RankCache::RankCache(baton::Context& context, const std::string& name, HeadSlice heads)
    : heads_(heads), blocks_(kBlocks), memory_(pool_bytes(heads)) {
  std::iota(blocks_.begin(), blocks_.end(), 0u);
  std::mt19937_64 random(heads.first * 7 + heads.count);
  std::shuffle(blocks_.begin(), blocks_.end(), random);
  blocks_.resize(kTokens.end / kBlockTokens);

  baton::SectionOptions section;
  section.name = name + "-pool";
  section.address = memory_.data();
  section.length_bytes = memory_.size();
  section_ = take(context.register_section(section), "register_section");
  baton::LayerGroup group;
  group.block_tokens = kBlockTokens;
  group.heads_total = kHeadsTotal;
  group.head_first = heads.first;
  group.heads = heads.count;
  group.head_elements = kRowBytes / 2;
  group.tensors_per_layer = kTensors;
  group.num_blocks = kBlocks;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    group.layers.push_back(layer);
    for (uint32_t tensor = 0; tensor < kTensors; ++tensor) {
      baton::TensorPlace place;
      place.section = section_.id();
      place.offset_bytes = (uint64_t{layer} * kTensors + tensor) * kBlocks * block_bytes(heads);
      place.block_stride_bytes = block_bytes(heads);
      group.places.push_back(place);
    }
  }
  baton::CacheOptions cache;
  cache.name = name;
  cache.layout.groups.push_back(group);
  cache_ = take(context.publish_cache(cache), "publish_cache");
}

uint64_t RankCache::row_offset(uint32_t layer, uint32_t tensor, uint32_t token,
                               uint32_t head) const {
  const uint64_t block =
      (uint64_t{layer} * kTensors + tensor) * kBlocks + blocks_[token / kBlockTokens];
  const uint64_t row = uint64_t{token % kBlockTokens} * heads_.count + (head - heads_.first);
  return block * block_bytes(heads_) + row * kRowBytes;
}

void RankCache::fill(uint64_t seed) {
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    for (uint32_t tensor = 0; tensor < kTensors; ++tensor) {
      for (uint32_t token = kTokens.begin; token < kTokens.end; ++token) {
        for (uint32_t head = heads_.first; head < heads_.first + heads_.count; ++head) {
          const uint64_t word = row_word({seed, layer, tensor, token, head});
          uint8_t* const row = memory_.data() + row_offset(layer, tensor, token, head);
          for (uint32_t i = 0; i < kRowBytes; ++i) row[i] = byte_of(word, i);
        }
      }
    }
  }
}

std::string RankCache::check(uint64_t seed, HeadSlice heads, uint32_t layers) const {
  uint64_t wrong = 0;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    for (uint32_t tensor = 0; tensor < kTensors; ++tensor) {
      for (uint32_t token = kTokens.begin; token < kTokens.end; ++token) {
        for (uint32_t head = heads.first; head < heads.first + heads.count; ++head) {
          const uint64_t word = row_word({seed, layer, tensor, token, head});
          const uint8_t* const row = memory_.data() + row_offset(layer, tensor, token, head);
          for (uint32_t i = 0; i < kRowBytes; ++i) {
            const bool may_be_poison = layer >= layers && row[i] == GuardedBuffer::kPoison;
            if (row[i] != byte_of(word, i) && !may_be_poison) ++wrong;
          }
        }
      }
    }
  }
  return wrong == 0 ? "" : std::to_string(wrong) + " bytes are not what was sent";
}

std::string RankCache::check_rest() const {
  std::vector<bool> used(kBlocks, false);
  for (const uint32_t block : blocks_) used[block] = true;
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < memory_.size(); ++i) {
    const uint64_t block = i / block_bytes(heads_) % kBlocks;
    if (!used[block] && memory_.data()[i] != GuardedBuffer::kPoison) ++wrong;
  }
  if (wrong > 0) return std::to_string(wrong) + " bytes of blocks that nobody granted were written";
  return memory_.check_guards();
}

}  // namespace baton_test
