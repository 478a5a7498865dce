#include "plugins/loopback/model_rail.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "baton/plugin/sdk.h"
#include "plugins/loopback/model_fabric.h"
#include "plugins/loopback/model_path.h"

namespace baton_loopback {

ModelRail::~ModelRail() {
  BATON_SDK_ASSERT(paths_.empty());
  if (event_fd_ >= 0) ::close(event_fd_);
}

baton_rc ModelRail::open(char* error) {
  // Readable never: whoever gave a wake hook hears by that. Without one, somebody has to ask.
  if (!fabric_->has_wake()) return BATON_RC_OK;
  event_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event_fd_ >= 0) return BATON_RC_OK;
  baton_sdk::format_text(error, "loopback: eventfd: %s", baton_sdk::ErrnoText(errno).c_str());
  return BATON_RC_NO_RESOURCE;
}

void ModelRail::close() {
  fabric_->remove(this);
  delete this;
}

// A NIC gives each registration a key of its own, so that an old one is of no use; software places
// by section and offset.
baton_rc ModelRail::region_register(void* address, uint64_t length_bytes, uint64_t tag,
                                    baton_region** out, baton_region_key* key) {
  auto region = std::make_unique<ModelRegion>();
  region->address = static_cast<uint8_t*>(address);
  region->length_bytes = length_bytes;
  region->key = tag << 32 | ++last_region_;
  *out = reinterpret_cast<baton_region*>(region.get());
  key->key = settings_.is_hardware() ? region->key : tag;
  key->base = settings_.is_hardware() ? reinterpret_cast<uintptr_t>(address) : 0;
  regions_.emplace(region->key, std::move(region));
  return BATON_RC_OK;
}

void ModelRail::region_unregister(baton_region* region) {
  regions_.erase(reinterpret_cast<ModelRegion*>(region)->key);
}

uint8_t* ModelRail::find(uint64_t key, uint64_t address, uint32_t length_bytes) const {
  const auto found = regions_.find(key);
  if (found == regions_.end()) return nullptr;
  const ModelRegion& region = *found->second;
  const uint64_t offset = address - reinterpret_cast<uintptr_t>(region.address);
  if (offset > region.length_bytes || length_bytes > region.length_bytes - offset) return nullptr;
  return region.address + offset;
}

bool ModelRail::covers(const baton_source& source) const {
  for (const auto& [key, region] : regions_) {
    if (reinterpret_cast<baton_region*>(region.get()) != source.region) continue;
    return find(key, reinterpret_cast<uintptr_t>(source.address), source.length_bytes) != nullptr;
  }
  return false;
}

int64_t ModelRail::send(uint32_t length_bytes) {
  const int64_t now_ns = fabric_->now_ns();
  const auto takes_ns =
      static_cast<int64_t>(uint64_t{length_bytes} * 1000 / settings_.bytes_per_us);
  wire_free_ns_ = std::max(wire_free_ns_, now_ns) + takes_ns;
  return wire_free_ns_;
}

baton_rc ModelRail::path_open(const baton_path_options& options, AnyPath** out, char* error) {
  if (fabric_->now_ns() < no_memory_until_ns_) {
    baton_sdk::format_text(error, "loopback: the model has no memory for a path now");
    return BATON_RC_NO_RESOURCE;
  }
  auto path = std::make_unique<ModelPath>(this, options);
  paths_.push_back(path.get());
  *out = path.release();
  return BATON_RC_OK;
}

void ModelRail::path_close(ModelPath* path) {
  paths_.erase(std::find(paths_.begin(), paths_.end(), path));
  delete path;
}

uint32_t ModelRail::progress(uint64_t budget_bytes) {
  fabric_->set_rail_time(host_->now_ns(host_->context));
  if (!fabric_->has_clock()) fabric_->run();
  uint32_t things = 0;
  for (size_t i = 0; i < paths_.size(); ++i) things += paths_[i]->progress(budget_bytes);
  return things;
}

int ModelRail::wait_fd() const { return event_fd_; }

uint32_t ModelRail::arm() {
  return std::any_of(paths_.begin(), paths_.end(), [](ModelPath* path) { return path->has_work(); })
             ? 1
             : 0;
}

void ModelRail::fault(const baton_loopback_fault& fault) {
  fabric_->trace(fault.kind == BATON_LOOPBACK_FAULT_DEAD_RAIL ? "rail died" : "rail has no memory",
                 UINT32_MAX, settings_.tag);
  if (fault.kind == BATON_LOOPBACK_FAULT_NO_MEMORY) {
    no_memory_until_ns_ = fault.until_ns;
    return;
  }
  is_dead_ = true;
  for (ModelPath* path : paths_) path->process_died();
}

void ModelRail::wake() { fabric_->wake(settings_.tag); }

}  // namespace baton_loopback
