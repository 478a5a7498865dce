// The modelled fabric: what is under way between rails, in the order of its time.
//
// A thing under way names Path ends by EndName, never by pointer: an end that has gone is not
// found.
//
// Thread rule: one thread for the fabric, its rails and their paths.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "baton/plugin/loopback.h"
#include "plugins/loopback/kinds.h"

namespace baton_loopback {

class ModelPath;
class ModelRail;

class ModelFabric final : public AnyFabric {
 public:
  explicit ModelFabric(const baton_loopback_model& model)
      : model_(model), random_state_(model.seed) {}
  ModelFabric(const ModelFabric&) = delete;
  ModelFabric& operator=(const ModelFabric&) = delete;
  ~ModelFabric() override;

  baton_rc rail_open(const baton_host* host, const baton_rail_options& options, AnyRail** out,
                     char* error) override;
  void remove(ModelRail* rail);

  // Its own clock's, or the time of the rail that is driven.
  [[nodiscard]] int64_t now_ns() const;
  void set_rail_time(int64_t now_ns) { rail_time_ns_ = now_ns; }
  [[nodiscard]] bool has_clock() const { return model_.now_ns != nullptr; }
  // In the order of time, and of the calls where times are equal.
  void call_at(int64_t at_ns, std::function<void()> call);
  [[nodiscard]] int64_t next_ns() const;
  void run();

  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t random(uint64_t bound);
  // Of fabrics of one process, tells them apart.
  [[nodiscard]] uint64_t name() const { return model_.seed; }

  uint32_t add(ModelPath* path);
  void remove(uint32_t index) { paths_[index] = nullptr; }
  [[nodiscard]] ModelPath* find(uint32_t index) const {
    return index < paths_.size() ? paths_[index] : nullptr;
  }

  uint32_t list_paths(baton_loopback_path_info* out, uint32_t max) const;
  bool fault(const baton_loopback_fault& fault);

  [[nodiscard]] bool has_wake() const { return model_.wake != nullptr; }
  void wake(uint32_t rail_tag) const {
    if (model_.wake != nullptr) model_.wake(model_.context, rail_tag);
  }
  void on_place(const baton_loopback_place& place) const {
    if (model_.on_place != nullptr) model_.on_place(model_.context, &place);
  }
  void trace(const char* what, uint32_t path, uint64_t a = 0, uint64_t b = 0) const {
    if (model_.trace != nullptr) model_.trace(model_.context, what, path, a, b);
  }

 private:
  const baton_loopback_model model_;
  uint64_t random_state_;
  int64_t rail_time_ns_ = 0;
  std::map<std::pair<int64_t, uint64_t>, std::function<void()>> calls_;
  uint64_t next_call_ = 0;
  std::vector<ModelPath*> paths_;  // by index, which is never used again; null: closed
  std::vector<ModelRail*> rails_;
};

}  // namespace baton_loopback
