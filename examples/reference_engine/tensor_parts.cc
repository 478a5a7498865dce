#include "examples/reference_engine/tensor_parts.h"

#include <algorithm>
#include <string>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {

using baton::Status;
using baton::StatusCode;

namespace {

// Part `part` of `count` things: as even as can be, the first parts get one more.
IndexRange even_share(uint32_t count, uint32_t part) {
  const uint32_t each = count / kTensorParts;
  const uint32_t longer = count % kTensorParts;
  return {part * each + std::min(part, longer), each + (part < longer ? 1U : 0U)};
}

}  // namespace

IndexRange overlap(const IndexRange& a, const IndexRange& b) {
  const uint32_t first = std::max(a.first, b.first);
  const uint32_t end = std::min(a.end(), b.end());
  return {first, end > first ? end - first : 0};
}

TensorPart tensor_part(const ModelConfig& config, uint32_t part) {
  ENGINE_ASSERT(part < kTensorParts);
  TensorPart out;
  out.feed_forward = even_share(config.feed_forward, part);
  const uint32_t group = config.group();
  if (config.kv_heads >= kTensorParts) {
    out.kv_heads = even_share(config.kv_heads, part);
    out.owned_kv_heads = out.kv_heads;
    out.query_heads = {out.kv_heads.first * group, out.kv_heads.count * group};
    return out;
  }
  out.query_heads = even_share(config.heads, part);
  if (out.query_heads.is_empty()) return out;
  out.kv_heads.first = out.query_heads.first / group;
  out.kv_heads.count = (out.query_heads.end() - 1) / group + 1 - out.kv_heads.first;
  // Query heads are in order, so earlier parts hold the KV heads up to that of the query head
  // before.
  const uint32_t held = out.query_heads.first == 0 ? 0 : (out.query_heads.first - 1) / group + 1;
  out.owned_kv_heads.first = std::max(out.kv_heads.first, held);
  out.owned_kv_heads.count = out.kv_heads.end() - out.owned_kv_heads.first;
  return out;
}

namespace {

// From the first to the last of what `member` is in these parts; parts without any do not count.
IndexRange joined(const ModelConfig& config, const IndexRange& parts,
                  IndexRange TensorPart::*member) {
  ENGINE_ASSERT(!parts.is_empty() && parts.end() <= kTensorParts);
  IndexRange out;
  for (uint32_t part = parts.first; part < parts.end(); ++part) {
    const IndexRange more = tensor_part(config, part).*member;
    if (more.is_empty()) continue;
    if (out.is_empty()) out.first = more.first;
    out.count = more.end() - out.first;
  }
  return out;
}

}  // namespace

IndexRange query_heads_of(const ModelConfig& config, const IndexRange& parts) {
  return joined(config, parts, &TensorPart::query_heads);
}

IndexRange kv_heads_of(const ModelConfig& config, const IndexRange& parts) {
  return joined(config, parts, &TensorPart::kv_heads);
}

IndexRange owned_kv_heads_of(const ModelConfig& config, const IndexRange& parts) {
  return joined(config, parts, &TensorPart::owned_kv_heads);
}

IndexRange parts_of_rank(uint32_t rank, uint32_t ranks) {
  ENGINE_ASSERT(rank < ranks && (ranks == 1 || ranks == kTensorParts));
  return ranks == 1 ? kAllParts : IndexRange{rank, 1};
}

Status check_ranks(const ModelConfig& config, uint32_t ranks) {
  if (ranks == 1) return Status::ok();
  if (ranks != kTensorParts) {
    return {StatusCode::kInvalidArgument,
            std::to_string(ranks) + " tensor-parallel ranks; expected 1 or 3"};
  }
  if (config.heads < kTensorParts || config.feed_forward < kTensorParts) {
    return {StatusCode::kInvalidArgument, config.name + ": " + std::to_string(config.heads) +
                                              " heads and a feed-forward size of " +
                                              std::to_string(config.feed_forward) +
                                              " do not fill 3 tensor-parallel ranks"};
  }
  return Status::ok();
}

}  // namespace baton_engine
