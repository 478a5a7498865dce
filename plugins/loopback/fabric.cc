#include "plugins/loopback/fabric.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "baton/plugin/plugin.h"
#include "baton/plugin/sdk.h"
#include "plugins/loopback/rail.h"

namespace baton_loopback {

Fabric::~Fabric() { BATON_SDK_ASSERT(rails_ == 0); }

baton_rc Fabric::rail_open(const baton_host* host, const baton_rail_options& options, AnyRail** out,
                           char* error) {
  baton_sdk::Settings settings(options.settings);
  if (std::string_view key, value; settings.next(&key, &value)) {
    baton_sdk::format_text(error, "loopback: unknown setting \"%.*s\"; it has none",
                           static_cast<int>(key.size()), key.data());
    return BATON_RC_INVALID;
  }
  Rail* rail = baton_sdk::create<Rail>(host, host, this);
  if (rail == nullptr) {
    baton_sdk::format_text(error, "loopback: the host has no memory for a rail");
    return BATON_RC_NO_RESOURCE;
  }
  const baton_rc rc = rail->open(error);
  if (rc != BATON_RC_OK) {
    baton_sdk::destroy(host, rail);
    return rc;
  }
  *out = rail;
  return BATON_RC_OK;
}

uint32_t Fabric::add(Path* path) {
  paths_.push_back(path);
  return static_cast<uint32_t>(paths_.size() - 1);
}

// splitmix64: any seed is good, and it needs nothing but addition and multiplication on every
// platform.
uint64_t Fabric::random(uint64_t bound) {
  random_state_ += 0x9e3779b97f4a7c15u;
  uint64_t value = random_state_;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return (value ^ (value >> 31)) % bound;
}

}  // namespace baton_loopback

extern "C" void baton_loopback_plan_init(baton_loopback_plan* plan) {
  *plan = baton_loopback_plan{};
  plan->struct_size = sizeof *plan;
  plan->seed = 1;
  plan->flags = BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR;
  plan->stall_path = -1;
  plan->kill_path = -1;
}

extern "C" baton_loopback_fabric* baton_loopback_fabric_create(const baton_loopback_plan* plan) {
  baton_loopback_plan copy;
  baton_loopback_plan_init(&copy);
  // Fields that an older caller does not know keep their defaults.
  if (plan != nullptr) std::memcpy(&copy, plan, std::min(plan->struct_size, sizeof copy));
  copy.struct_size = sizeof copy;
  const bool covers = (copy.flags & BATON_CAP_IMM_COVERS_PRIOR) != 0;
  const bool ordered = (copy.flags & BATON_CAP_ORDERED) != 0;
  if ((covers && !ordered) || copy.delay_min_ns > copy.delay_max_ns || copy.reorder_percent > 100) {
    return nullptr;
  }
  if (copy.max_posts == 0) copy.max_posts = 256;
  auto* fabric = new (std::nothrow) baton_loopback::Fabric(copy);
  return reinterpret_cast<baton_loopback_fabric*>(static_cast<baton_loopback::AnyFabric*>(fabric));
}

extern "C" void baton_loopback_fabric_destroy(baton_loopback_fabric* fabric) {
  delete reinterpret_cast<baton_loopback::AnyFabric*>(fabric);
}
