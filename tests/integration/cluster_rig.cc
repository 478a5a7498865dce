#include "tests/integration/cluster_rig.h"

#include <utility>

#include "baton/plugin/plugin.h"

namespace baton_test {

Rank::Rank(const std::string& name, const Transport& transport, baton_loopback_fabric* fabric,
           const Side& side, baton::TokenRange tokens, bool is_prefill, uint32_t max_live)
    : side_(side), memory_(side) {
  if (is_prefill) fill_model(side_, tokens, memory_);
  baton::ContextOptions options = quiet_options(name);
  options.log_level = baton::LogLevel::kOff;
  options.rails[0].plugin = transport.plugin;
  options.rails[0].in_process = fabric;
  options.max_live = max_live;
  context_ =
      std::make_unique<baton::Context>(require(baton::Context::create(options), "Context::create"));
  baton::CacheOptions cache;
  cache.name = "kv";
  cache.layout = side_.layout;
  for (size_t i = 0; i < memory_.sections.size(); ++i) {
    baton::SectionOptions section;
    section.name = "s" + std::to_string(i);
    section.address = memory_.sections[i]->data();
    section.length_bytes = memory_.sections[i]->size();
    sections_.push_back(require(context_->register_section(section), "register_section"));
  }
  for (baton::LayerGroup& group : cache.layout.groups) {
    for (baton::TensorPlace& place : group.places) {
      place.section = sections_[place.section.value - 1].id();
    }
  }
  cache_ = require(context_->publish_cache(cache), "publish_cache");
}

void Rank::destroy_context() { context_.reset(); }

void Rank::poison() {
  for (auto& section : memory_.sections) section->poison();
}

std::string Rank::check_model(baton::TokenRange tokens) const {
  Memory expected(side_);
  fill_model(side_, tokens, expected);
  std::string bad;
  for (size_t i = 0; i < memory_.sections.size() && bad.empty(); ++i) {
    bad = compare_bytes(expected.sections[i]->bytes(), memory_.sections[i]->bytes());
    if (bad.empty()) bad = memory_.sections[i]->check_guards();
  }
  return bad;
}

std::string Rank::check_poisoned() const {
  std::string bad;
  for (const auto& section : memory_.sections) {
    if (bad.empty()) bad = section->check_poisoned(0, section->size());
    if (bad.empty()) bad = section->check_guards();
  }
  return bad;
}

Cluster::Cluster(const Transport& transport, ClusterCase layouts, uint64_t seed,
                 uint32_t decode_max_live)
    : case_(std::move(layouts)) {
  if (std::string(transport.plugin) == "loopback") {
    baton_loopback_plan plan{};
    baton_loopback_plan_init(&plan);
    plan.seed = seed;
    plan.flags = transport.ordered ? BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR : 0u;
    plan.reorder_percent = transport.ordered ? 0 : 30;
    fabric_ = baton_loopback_fabric_create(&plan);
  }
  for (size_t i = 0; i < case_.prefill.size(); ++i) {
    prefill_.push_back(std::make_unique<Rank>("prefill-" + std::to_string(i), transport, fabric_,
                                              case_.prefill[i], case_.tokens, true, 4096));
  }
  for (size_t i = 0; i < case_.decode.size(); ++i) {
    decode_.push_back(std::make_unique<Rank>("decode-" + std::to_string(i), transport, fabric_,
                                             case_.decode[i], case_.tokens, false,
                                             i == 0 ? decode_max_live : 4096));
    peers_.emplace_back();
    for (const auto& rank : prefill_) {
      peers_.back().push_back(
          require(decode_.back()->context().connect(rank->context().address()), "connect"));
    }
  }
}

Cluster::~Cluster() {
  prefill_.clear();
  decode_.clear();
  if (fabric_ != nullptr) baton_loopback_fabric_destroy(fabric_);
}

baton::GrantGroupRequest Cluster::request(size_t to, const std::string& tag) const {
  baton::GrantGroupRequest request;
  request.cache = decode_[to]->cache();
  request.tag = tag;
  request.tokens = case_.tokens;
  request.block_lists = case_.decode[to].blocks;
  request.target_rank = static_cast<uint32_t>(to);
  for (const baton::PeerId peer : peers_[to]) request.writers.push_back({peer, "kv"});
  return request;
}

baton::Transfer Cluster::push(size_t from, const std::string& tag) {
  baton::Context& context = prefill_[from]->context();
  baton::PushRequest push;
  push.grant = require(context.wait_offer(tag, 20000), "wait_offer").id;
  push.cache = prefill_[from]->cache();
  push.block_lists = case_.prefill[from].blocks;
  return require(context.push(push), "push");
}

}  // namespace baton_test
