// A rail of the fabric: the paths of one thread, and the eventfd that the other ends ring.
#pragma once

#include <cstdint>

#include "baton/plugin/plugin.h"
#include "plugins/loopback/fabric.h"
#include "plugins/loopback/kinds.h"

namespace baton_loopback {

class Path;

class Rail final : public AnyRail {
 public:
  Rail(const baton_host* host, Fabric* fabric) : host_(host), fabric_(fabric) {}
  Rail(const Rail&) = delete;
  Rail& operator=(const Rail&) = delete;
  ~Rail();

  [[nodiscard]] baton_rc open(char* error);

  [[nodiscard]] const baton_host* host() const { return host_; }
  [[nodiscard]] Fabric* fabric() const { return fabric_; }
  [[nodiscard]] int64_t now_ns() const { return host_->now_ns(host_->context); }

  void capabilities(baton_capabilities* out) const override;
  baton_rc region_register(void* address, uint64_t length_bytes, uint64_t tag, baton_region** out,
                           baton_region_key* key) override;
  void region_unregister(baton_region* region) override;
  [[nodiscard]] baton_rc path_open(const baton_path_options& options, AnyPath** out,
                                   char* error) override;
  void path_close(Path* path);

  uint32_t progress(uint64_t budget_bytes) override;
  [[nodiscard]] int wait_fd() const override { return fabric_->timed() ? -1 : event_fd_; }
  uint32_t arm() override;
  void close() override;

  // Wakes whoever sleeps on wait_fd. Any thread.
  void ring() const;

 private:
  const baton_host* host_;
  Fabric* fabric_;
  int event_fd_ = -1;
  Path* first_path_ = nullptr;
};

}  // namespace baton_loopback
