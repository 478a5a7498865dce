#include "tests/integration/rig.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>

#include "baton/plugin/plugin.h"

namespace baton_test {

Pool::Pool(const PoolShape& shape) : shape_(shape), memory_(shape.pool_bytes()) {}

void Pool::publish(baton::Context& context, const std::string& name) {
  baton::SectionOptions section;
  section.name = name + "-pool";
  section.address = memory_.data();
  section.length_bytes = memory_.size();
  section_ = require(context.register_section(section), "register_section");
  baton::LayerGroup group;
  group.block_tokens = shape_.block_tokens;
  group.heads_total = shape_.heads;
  group.heads = shape_.heads;
  group.head_elements = shape_.head_elements;
  group.order = shape_.order;
  group.tensors_per_layer = shape_.tensors_per_layer;
  group.num_blocks = shape_.num_blocks;
  for (uint32_t layer = 0; layer < shape_.layers; ++layer) {
    group.layers.push_back(layer);
    for (uint32_t tensor = 0; tensor < shape_.tensors_per_layer; ++tensor) {
      baton::TensorPlace place;
      place.section = section_.id();
      place.offset_bytes = (uint64_t{layer} * shape_.tensors_per_layer + tensor) *
                           shape_.num_blocks * shape_.block_bytes();
      place.block_stride_bytes = shape_.block_bytes();
      group.places.push_back(place);
    }
  }
  baton::CacheOptions cache;
  cache.name = name;
  cache.layout.groups.push_back(group);
  cache_ = require(context.publish_cache(cache), "publish_cache");
}

void Pool::unpublish() {
  cache_.close();
  require_ok(section_.close(), "Section::close");
}

uint64_t Pool::row_offset(uint32_t layer, uint32_t tensor, const std::vector<uint32_t>& blocks,
                          uint32_t first_token, uint32_t token, uint32_t head) const {
  const uint32_t block = blocks[token / shape_.block_tokens - first_token / shape_.block_tokens];
  const uint32_t in_block = token % shape_.block_tokens;
  const uint64_t row = shape_.order == baton::TokenOrder::kNHD
                           ? uint64_t{in_block} * shape_.heads + head
                           : uint64_t{head} * shape_.block_tokens + in_block;
  const uint64_t tensor_index = uint64_t{layer} * shape_.tensors_per_layer + tensor;
  return (tensor_index * shape_.num_blocks + block) * shape_.block_bytes() +
         row * shape_.row_bytes();
}

std::vector<uint8_t> expected_target(const Pool& source, const std::vector<uint32_t>& source_blocks,
                                     Pool& target, const std::vector<uint32_t>& target_blocks,
                                     baton::TokenRange tokens, uint8_t* source_memory) {
  std::vector<uint8_t> out(target.memory().data(), target.memory().data() + target.memory().size());
  const PoolShape& shape = target.shape();
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (uint32_t tensor = 0; tensor < shape.tensors_per_layer; ++tensor) {
      for (uint32_t token = tokens.begin; token < tokens.end; ++token) {
        for (uint32_t head = 0; head < shape.heads; ++head) {
          const uint64_t from =
              source.row_offset(layer, tensor, source_blocks, tokens.begin, token, head);
          const uint64_t to =
              target.row_offset(layer, tensor, target_blocks, tokens.begin, token, head);
          std::memcpy(out.data() + to, source_memory + from, shape.row_bytes());
        }
      }
    }
  }
  return out;
}

std::vector<uint32_t> pick_blocks(uint32_t count, uint32_t num_blocks, uint64_t seed) {
  std::vector<uint32_t> all(num_blocks);
  std::iota(all.begin(), all.end(), 0u);
  std::mt19937_64 random(seed);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(count);
  return all;
}

uint32_t blocks_for(baton::TokenRange tokens, uint32_t block_tokens) {
  return (tokens.end - 1) / block_tokens - tokens.begin / block_tokens + 1;
}

void require_ok(const baton::Status& status, const char* what) {
  if (status.is_ok()) return;
  std::fprintf(stderr, "%s failed: %s\n", what, status.to_string().c_str());
  std::abort();
}

uint64_t lost_paths(const baton::Context& context) {
  uint64_t lost = 0;
  for (const auto& peer : context.metrics().peers) {
    for (const auto& path : peer.paths) lost += path.lost;
  }
  return lost;
}

baton::ContextOptions quiet_options(const std::string& name) {
  baton::ContextOptions options;
  options.name = name;
  options.log_level = baton::LogLevel::kError;
  return options;
}

ContextPair::ContextPair(const Options& options) : prefill_dials_(options.prefill_dials) {
  if (options.transport == "loopback") {
    baton_loopback_plan plan{};
    baton_loopback_plan_init(&plan);
    plan.seed = options.seed;
    plan.flags = options.ordered ? BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR : 0u;
    plan.reorder_percent = options.ordered ? 0 : 30;
    plan.kill_path = options.kill_path;
    plan.kill_after_posts = options.kill_after_posts;
    fabric_ = baton_loopback_fabric_create(&plan);
  }
  prefill_ = std::make_unique<baton::Context>(make("prefill", options));
  decode_ = std::make_unique<baton::Context>(make("decode", options));
}

ContextPair::~ContextPair() {
  prefill_.reset();
  decode_.reset();
  if (fabric_ != nullptr) baton_loopback_fabric_destroy(fabric_);
}

baton::Context ContextPair::make(const std::string& name, const Options& options) {
  baton::ContextOptions context = quiet_options(name);
  context.rails[0].plugin = options.transport;
  context.rails[0].in_process = fabric_;
  context.rails[0].paths = options.paths;
  context.bind_host = options.bind_host;
  context.plugin_files = options.plugin_files;
  context.progress = options.progress;
  context.heartbeat_interval_ms = options.heartbeat_interval_ms;
  context.peer_dead_after_ms = 5 * options.heartbeat_interval_ms;
  context.default_lease_ms = 20 * options.heartbeat_interval_ms;
  return require(baton::Context::create(context), "Context::create");
}

void ContextPair::connect() {
  if (prefill_dials_) {
    decode_peer_ = require(prefill_->connect(decode_->address()), "connect");
    prefill_peer_ = next_event(*decode_, baton::EventKind::kPeerUp).peer;
    return;
  }
  prefill_peer_ = require(decode_->connect(prefill_->address()), "connect");
  decode_peer_ = next_event(*prefill_, baton::EventKind::kPeerUp).peer;
}

baton::Event next_event(baton::Context& context, baton::EventKind kind, uint32_t timeout_ms) {
  for (;;) {
    baton::Event event = require(context.wait_event(timeout_ms), "wait_event");
    if (event.kind == kind) return event;
  }
}

}  // namespace baton_test
