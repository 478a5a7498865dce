#include "plugins/loopback/model_fabric.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "baton/plugin/sdk.h"
#include "plugins/loopback/model_path.h"
#include "plugins/loopback/model_rail.h"

namespace baton_loopback {

ModelFabric::~ModelFabric() { BATON_SDK_ASSERT(rails_.empty()); }

baton_rc ModelFabric::rail_open(const baton_host* host, const baton_rail_options& options,
                                AnyRail** out, char* error) {
  ModelSettings settings;
  for (const char* text : {model_.settings, options.settings}) {
    if (const baton_rc rc = settings.parse(text, error); rc != BATON_RC_OK) return rc;
  }
  auto rail = std::make_unique<ModelRail>(host, this, settings);
  if (const baton_rc rc = rail->open(error); rc != BATON_RC_OK) return rc;
  rails_.push_back(rail.get());
  *out = rail.release();
  return BATON_RC_OK;
}

void ModelFabric::remove(ModelRail* rail) {
  rails_.erase(std::find(rails_.begin(), rails_.end(), rail));
}

int64_t ModelFabric::now_ns() const {
  return model_.now_ns != nullptr ? model_.now_ns(model_.context) : rail_time_ns_;
}

void ModelFabric::call_at(int64_t at_ns, std::function<void()> call) {
  calls_.emplace(std::make_pair(std::max(at_ns, now_ns()), next_call_++), std::move(call));
}

int64_t ModelFabric::next_ns() const {
  return calls_.empty() ? INT64_MAX : calls_.begin()->first.first;
}

void ModelFabric::run() {
  while (!calls_.empty() && calls_.begin()->first.first <= now_ns()) {
    const std::function<void()> call = std::move(calls_.begin()->second);
    calls_.erase(calls_.begin());
    call();
  }
}

// splitmix64, as Fabric's.
uint64_t ModelFabric::random(uint64_t bound) {
  random_state_ += 0x9e3779b97f4a7c15u;
  uint64_t value = random_state_;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return (value ^ (value >> 31)) % bound;
}

uint32_t ModelFabric::add(ModelPath* path) {
  paths_.push_back(path);
  return static_cast<uint32_t>(paths_.size() - 1);
}

uint32_t ModelFabric::list_paths(baton_loopback_path_info* out, uint32_t max) const {
  uint32_t count = 0;
  for (const ModelPath* path : paths_) {
    if (path == nullptr || !path->is_alive()) continue;
    if (count < max) out[count] = path->info();
    ++count;
  }
  return count;
}

bool ModelFabric::fault(const baton_loopback_fault& fault) {
  if (fault.kind == BATON_LOOPBACK_FAULT_NO_MEMORY ||
      fault.kind == BATON_LOOPBACK_FAULT_DEAD_RAIL) {
    bool hit = false;
    for (ModelRail* rail : rails_) {
      if (rail->settings().tag != fault.rail_tag) continue;
      rail->fault(fault);
      hit = true;
    }
    return hit;
  }
  ModelPath* path = find(fault.path);
  if (path == nullptr || !path->is_alive()) return false;
  path->fault(fault);
  return true;
}

namespace {

ModelFabric* model_of(baton_loopback_fabric* fabric) {
  return static_cast<ModelFabric*>(reinterpret_cast<AnyFabric*>(fabric));
}

}  // namespace
}  // namespace baton_loopback

using baton_loopback::AnyFabric;
using baton_loopback::model_of;

extern "C" void baton_loopback_model_init(baton_loopback_model* model) {
  *model = baton_loopback_model{};
  model->struct_size = sizeof *model;
  model->seed = 1;
}

extern "C" baton_loopback_fabric* baton_loopback_fabric_create_model(
    const baton_loopback_model* model) {
  baton_loopback_model copy;
  baton_loopback_model_init(&copy);
  std::memcpy(&copy, model, std::min(model->struct_size, sizeof copy));
  auto* fabric = new (std::nothrow) baton_loopback::ModelFabric(copy);
  return reinterpret_cast<baton_loopback_fabric*>(static_cast<AnyFabric*>(fabric));
}

extern "C" int64_t baton_loopback_fabric_next_ns(baton_loopback_fabric* fabric) {
  return model_of(fabric)->next_ns();
}

extern "C" void baton_loopback_fabric_run(baton_loopback_fabric* fabric) {
  model_of(fabric)->run();
}

extern "C" uint32_t baton_loopback_fabric_paths(baton_loopback_fabric* fabric,
                                                baton_loopback_path_info* out, uint32_t max) {
  return model_of(fabric)->list_paths(out, max);
}

extern "C" uint32_t baton_loopback_fabric_fault(baton_loopback_fabric* fabric,
                                                const baton_loopback_fault* fault) {
  return model_of(fabric)->fault(*fault) ? 1 : 0;
}
