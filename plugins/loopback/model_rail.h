// A rail of the modelled fabric: its paths, its regions, and the wire that its paths share.
//
// Thread rule: the fabric's one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "baton/plugin/loopback.h"
#include "plugins/loopback/kinds.h"
#include "plugins/loopback/model_settings.h"

namespace baton_loopback {

class ModelFabric;
class ModelPath;

// Registered memory, as the NIC knows it.
struct ModelRegion {
  uint8_t* address = nullptr;
  uint64_t length_bytes = 0;
  uint64_t key = 0;
};

class ModelRail final : public AnyRail {
 public:
  ModelRail(const baton_host* host, ModelFabric* fabric, const ModelSettings& settings)
      : host_(host), fabric_(fabric), settings_(settings) {}
  ModelRail(const ModelRail&) = delete;
  ModelRail& operator=(const ModelRail&) = delete;
  ~ModelRail();

  [[nodiscard]] baton_rc open(char* error);
  [[nodiscard]] const baton_host* host() const { return host_; }
  [[nodiscard]] ModelFabric* fabric() const { return fabric_; }
  [[nodiscard]] const ModelSettings& settings() const { return settings_; }
  // Its process has died.
  [[nodiscard]] bool is_dead() const { return is_dead_; }

  void capabilities(baton_capabilities* out) const override { settings_.capabilities(out); }
  baton_rc region_register(void* address, uint64_t length_bytes, uint64_t tag, baton_region** out,
                           baton_region_key* key) override;
  void region_unregister(baton_region* region) override;
  [[nodiscard]] baton_rc path_open(const baton_path_options& options, AnyPath** out,
                                   char* error) override;
  void path_close(ModelPath* path);
  uint32_t progress(uint64_t budget_bytes) override;
  [[nodiscard]] int wait_fd() const override;
  uint32_t arm() override;
  void close() override;

  // What the NIC would write to or read from; null: not of that region.
  [[nodiscard]] uint8_t* find(uint64_t key, uint64_t address, uint32_t length_bytes) const;
  [[nodiscard]] bool covers(const baton_source& source) const;
  // When so many bytes that are posted now have left.
  int64_t send(uint32_t length_bytes);
  void fault(const baton_loopback_fault& fault);
  // progress() has something to do.
  void wake();
  [[nodiscard]] const std::vector<ModelPath*>& paths() const { return paths_; }

 private:
  const baton_host* const host_;
  ModelFabric* const fabric_;
  const ModelSettings settings_;
  int event_fd_ = -1;
  std::vector<ModelPath*> paths_;  // in the order in which they were opened
  std::map<uint64_t, std::unique_ptr<ModelRegion>> regions_;  // by key
  uint64_t last_region_ = 0;
  int64_t wire_free_ns_ = 0;
  int64_t no_memory_until_ns_ = INT64_MIN;
  bool is_dead_ = false;
};

}  // namespace baton_loopback
