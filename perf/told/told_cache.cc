#include "perf/told/told_cache.h"

#include <utility>

namespace baton_perf {

using baton::Result;
using baton::Status;

namespace {

constexpr uint32_t kBlockTokens = 16;
constexpr uint32_t kBlocksEach = ToldCache::kTokens.end / kBlockTokens;
constexpr uint32_t kHeads = 8;
constexpr uint32_t kHeadElements = 64;
constexpr uint32_t kTensors = 2;
constexpr uint64_t kBlockBytes = uint64_t{kBlockTokens} * kHeads * kHeadElements * 2;
constexpr const char* kName = "told";

}  // namespace

Result<ToldCache> ToldCache::create(baton::Context& context) {
  ToldCache out;
  const uint64_t region_bytes = kBlockBytes * kBlocksEach * kRequests;
  out.memory_.resize(region_bytes * kLayers * kTensors);
  baton::SectionOptions section;
  section.name = kName;
  section.address = out.memory_.data();
  section.length_bytes = out.memory_.size();
  auto registered = context.register_section(section);
  if (!registered.is_ok()) return registered.status();
  out.section_ = std::move(*registered);
  baton::LayerGroup group;
  group.block_tokens = kBlockTokens;
  group.heads_total = kHeads;
  group.heads = kHeads;
  group.head_elements = kHeadElements;
  group.tensors_per_layer = kTensors;
  group.num_blocks = kBlocksEach * kRequests;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    group.layers.push_back(layer);
    for (uint32_t tensor = 0; tensor < kTensors; ++tensor) {
      group.places.push_back(
          {out.section_.id(), (uint64_t{layer} * kTensors + tensor) * region_bytes, kBlockBytes});
    }
  }
  auto cache = context.publish_cache({kName, {{std::move(group)}}});
  if (!cache.is_ok()) return cache.status();
  out.cache_ = std::move(*cache);
  return out;
}

std::vector<uint32_t> ToldCache::blocks(uint32_t request) {
  std::vector<uint32_t> out;
  for (uint32_t i = 0; i < kBlocksEach; ++i) out.push_back(request * kBlocksEach + i);
  return out;
}

Result<baton::Grant> ToldCache::grant(baton::Context& context, baton::PeerId peer, uint32_t request,
                                      uint32_t deadline_ms) const {
  baton::GrantRequest grant;
  grant.peer = peer;
  grant.cache = id();
  grant.source_cache = kName;
  grant.tag = tag(request);
  grant.tokens = kTokens;
  grant.block_lists = {blocks(request)};
  grant.deadline_ms = deadline_ms;
  return context.grant(grant);
}

Result<baton::Transfer> ToldCache::push(baton::Context& context, uint32_t request,
                                        uint32_t timeout_ms) const {
  const auto offer = context.wait_offer(tag(request), timeout_ms);
  if (!offer.is_ok()) return offer.status();
  return context.push({offer->id, id(), {blocks(request)}, 0});
}

}  // namespace baton_perf
