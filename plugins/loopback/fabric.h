// What the rails of one process share: the plan, its randomness, the table of paths, and the one
// mutex.
//
// The mutex guards the fabric and, of every path, what the other end touches. Every byte is copied
// with it held, after a look at whether the path still lives: hence a fence, which takes it too, is
// exact for both ends at once. Host functions called with it held: resolve(), now_ns(). Reports are
// made without it.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "baton/plugin/loopback.h"
#include "plugins/loopback/kinds.h"

namespace baton_loopback {

class Path;

class Fabric final : public AnyFabric {
 public:
  explicit Fabric(const baton_loopback_plan& plan) : plan_(plan), random_state_(plan.seed) {}
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;
  ~Fabric() override;

  baton_rc rail_open(const baton_host* host, const baton_rail_options& options, AnyRail** out,
                     char* error) override;

  [[nodiscard]] const baton_loopback_plan& plan() const { return plan_; }
  // Time must be asked for again and again: nothing signals that a delay is over.
  [[nodiscard]] bool timed() const { return plan_.delay_max_ns > 0 || plan_.stall_path >= 0; }
  [[nodiscard]] std::mutex& mutex() { return mutex_; }

  // With the mutex held:
  [[nodiscard]] uint32_t add(Path* path);  // its index
  void remove(uint32_t index) { paths_[index] = nullptr; }
  [[nodiscard]] Path* find(uint32_t index) const {
    return index < paths_.size() ? paths_[index] : nullptr;
  }
  // By index; null where one was removed.
  [[nodiscard]] const std::vector<Path*>& paths() const { return paths_; }
  // Uniform in [0, bound). REQUIRES: bound > 0.
  [[nodiscard]] uint64_t random(uint64_t bound);
  void count_rail(int change) { rails_ += change; }

 private:
  const baton_loopback_plan plan_;
  std::mutex mutex_;
  uint64_t random_state_;
  int rails_ = 0;
  std::vector<Path*> paths_;
};

}  // namespace baton_loopback
