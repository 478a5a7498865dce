#include "examples/reference_engine/engine_node.h"

#include <cstdio>
#include <utility>

#include "examples/reference_engine/load_model.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

baton::Layout layout_of(const KvPool& pool, baton::SectionId section) {
  const KvShape& shape = pool.shape();
  baton::LayerGroup group;
  group.block_tokens = shape.block_tokens;
  group.heads_total = shape.kv_heads;
  group.heads = shape.kv_heads;
  group.head_elements = shape.head_dim;
  group.dtype = shape.type == KvType::kBFloat16 ? baton::DType::kBf16 : baton::DType::kF32;
  group.order = shape.order == KvOrder::kNhd ? baton::TokenOrder::kNHD : baton::TokenOrder::kHND;
  group.tensors_per_layer = 2;
  group.num_blocks = shape.num_blocks;
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    group.layers.push_back(layer);
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      group.places.push_back(
          {section, shape.region_offset_bytes(layer, tensor), shape.block_bytes()});
    }
  }
  return {{std::move(group)}};
}

std::string megabytes(uint64_t bytes) { return std::to_string(bytes / 1'000'000) + " MB"; }

}  // namespace

Result<std::unique_ptr<EngineNode>> EngineNode::create(const EngineOptions& options,
                                                       Progress& progress) {
  std::unique_ptr<EngineNode> node(new EngineNode(options));
  progress.say("loading " + options.model);
  auto model =
      load_model(options.model, node->compute_, [&progress](uint64_t done, uint64_t total) {
        progress.maybe_say("loading: " + megabytes(done) + " of " + megabytes(total) + " as f32");
      });
  if (!model.is_ok()) return Status(model.code(), "model: " + model.status().message());
  node->model_ = std::move(*model);
  auto forward = ForwardPass::create(*node->model_, node->compute_, {options.chunk_tokens});
  if (!forward.is_ok()) return forward.status();
  node->forward_.emplace(std::move(*forward));
  return node;
}

Result<KvPool> EngineNode::make_pool(uint32_t block_tokens, uint64_t blocks, bool poison) const {
  KvPoolOptions pool;
  pool.shape = ForwardPass::kv_shape(model_->config());
  pool.shape.block_tokens = block_tokens;
  pool.shape.num_blocks = static_cast<uint32_t>(std::min<uint64_t>(blocks, UINT32_MAX));
  pool.shape.type = options_.kv_type();
  pool.poison = poison;
  return KvPool::create(pool);
}

Status EngineNode::open_context(baton::ContextOptions context_options, KvPool& pool) {
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
  auto cache = context_->publish_cache({kCacheName, layout_of(pool, section_.id())});
  if (!cache.is_ok()) return cache.status();
  cache_ = std::move(*cache);
  return Status::ok();
}

void EngineNode::close_context() {
  if (!context_) return;
  cache_.close();
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
