#include "examples/reference_engine/engine_node.h"

#include <cstdio>
#include <utility>

#include "examples/reference_engine/engine_assert.h"
#include "examples/reference_engine/load_model.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

baton::Layout layout_of(const KvPool& pool, baton::SectionId section, uint32_t heads_total,
                        const IndexRange& held, const IndexRange& heads) {
  const KvShape& shape = pool.shape();
  baton::LayerGroup group;
  group.block_tokens = shape.block_tokens;
  group.heads_total = heads_total;
  group.head_first = heads.first;
  group.heads = heads.count;
  group.head_elements = shape.head_dim;
  group.dtype = shape.type == KvType::kBFloat16 ? baton::DType::kBf16 : baton::DType::kF32;
  group.order = shape.order == KvOrder::kNhd ? baton::TokenOrder::kNHD : baton::TokenOrder::kHND;
  group.tensors_per_layer = 2;
  group.num_blocks = shape.num_blocks;
  // Within a block of order HND the tokens of one head lie together, and those of neighbouring
  // heads behind them.
  ENGINE_ASSERT(heads == held || shape.order == KvOrder::kHnd);
  const uint64_t skip_bytes = shape.head_offset_bytes(0, heads.first - held.first);
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    group.layers.push_back(layer);
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      group.places.push_back(
          {section, shape.region_offset_bytes(layer, tensor) + skip_bytes, shape.block_bytes()});
    }
  }
  return {{std::move(group)}};
}

std::string megabytes(uint64_t bytes) { return std::to_string(bytes / 1'000'000) + " MB"; }

}  // namespace

Result<std::unique_ptr<EngineNode>> EngineNode::create(const EngineOptions& options,
                                                       Progress& progress,
                                                       const IndexRange& parts) {
  std::unique_ptr<EngineNode> node(new EngineNode(options));
  progress.say("loading " + options.model);
  auto model = load_model(
      options.model, node->compute_,
      [&progress](uint64_t done, uint64_t total) {
        progress.maybe_say("loading: " + megabytes(done) + " of " + megabytes(total) + " as f32");
      },
      parts);
  if (!model.is_ok()) return Status(model.code(), "model: " + model.status().message());
  node->model_ = std::move(*model);
  if (parts != kAllParts) return node;
  auto forward = ForwardPass::create(*node->model_, node->compute_, {options.chunk_tokens});
  if (!forward.is_ok()) return forward.status();
  node->forward_.emplace(std::move(*forward));
  return node;
}

Status EngineNode::join_ranks(const IndexRange& parts, PartialSums& sums) {
  auto forward = ForwardPass::create(*model_, compute_, {options_.chunk_tokens, parts, &sums});
  if (!forward.is_ok()) return forward.status();
  rank_forward_.emplace(std::move(*forward));
  return Status::ok();
}

Result<KvPool> EngineNode::make_pool(const NodePool& options) const {
  KvPoolOptions pool;
  pool.shape = ForwardPass::kv_shape(model_->config(), options.parts);
  pool.shape.block_tokens = options.block_tokens;
  pool.shape.num_blocks = static_cast<uint32_t>(std::min<uint64_t>(options.blocks, UINT32_MAX));
  pool.shape.type = options_.kv_type();
  pool.shape.order = options.order;
  pool.poison = options.poison;
  return KvPool::create(pool);
}

Status EngineNode::open_context(baton::ContextOptions context_options, KvPool& pool,
                                const IndexRange& held, const IndexRange& heads) {
  auto context = baton::Context::create(std::move(context_options));
  if (!context.is_ok()) return context.status();
  context_.emplace(std::move(*context));
  baton::SectionOptions section;
  section.name = "kv pool";
  section.address = pool.memory().data();
  section.length_bytes = pool.memory().size();
  auto registered = context_->register_section(section);
  if (!registered.is_ok()) return registered.status();
  section_ = std::move(*registered);
  if (heads.is_empty()) return Status::ok();
  auto cache = context_->publish_cache(
      {kCacheName, layout_of(pool, section_.id(), model_->config().kv_heads, held, heads)});
  if (!cache.is_ok()) return cache.status();
  cache_ = std::move(*cache);
  return Status::ok();
}

void EngineNode::close_context() {
  if (!context_) return;
  if (cache_.is_open()) cache_.close();
  section_.close().ignore();
  context_->close(0).ignore();
  context_.reset();
}

std::string EngineNode::fingerprint() const {
  const ModelConfig& config = model_->config();
  return config.name + ", " + std::to_string(config.layers) + " layers of " +
         std::to_string(config.hidden) + ", KV " + options_.kv_dtype + ", chunks of " +
         std::to_string(options_.chunk_tokens) + " tokens";
}

}  // namespace baton_engine
