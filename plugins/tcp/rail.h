// A rail: the paths of one thread, and the one descriptor that wakes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "baton/plugin/plugin.h"
#include "baton/plugin/sdk.h"
#include "plugins/tcp/post_entry.h"

namespace baton_tcp {

class Path;

// Keys of baton_rail_options.settings (docs/plugin_guide.md, "Settings"). 0: the kernel's own
// choice and auto-tuning.
struct RailSettings {
  static constexpr size_t kMaxNameBytes = 15;  // TCP_CA_NAME_MAX, without its NUL

  uint64_t send_buffer_bytes = 0;
  uint64_t receive_buffer_bytes = 0;
  char congestion_control[kMaxNameBytes + 1] = {};  // "": see Path::set_congestion_control
};

class Rail {
 public:
  explicit Rail(const baton_host* host) : host_(host) {}
  Rail(const Rail&) = delete;
  Rail& operator=(const Rail&) = delete;
  ~Rail();

  [[nodiscard]] baton_rc open(const baton_rail_options* options, char* error);

  [[nodiscard]] const baton_host* host() const { return host_; }
  [[nodiscard]] const RailSettings& settings() const { return settings_; }
  [[nodiscard]] int epoll_fd() const { return epoll_fd_; }
  // Scratch memory of kScratchBytes: see PathContext.
  [[nodiscard]] uint8_t* discard() { return discard_.data(); }
  [[nodiscard]] uint8_t* zeros() { return zeros_.data(); }

  [[nodiscard]] baton_rc path_open(const baton_path_options& options, Path** out, char* error);
  void path_close(Path* path);

  uint32_t progress(uint64_t budget_bytes);
  uint32_t arm();

 private:
  [[nodiscard]] baton_rc parse_settings(const char* text, char* error);
  [[nodiscard]] baton_rc parse_congestion_control(std::string_view value, char* error);
  [[nodiscard]] bool any_work() const;
  void collect_events();

  // The kernel is asked for events when no path has work left, and at least every so many calls.
  static constexpr uint32_t kCallsBetweenPolls = 8;

  const baton_host* host_;
  RailSettings settings_;
  int epoll_fd_ = -1;
  uint32_t calls_ = 0;
  Path* first_path_ = nullptr;
  baton_sdk::HostArray<uint8_t> discard_;
  baton_sdk::HostArray<uint8_t> zeros_;
};

}  // namespace baton_tcp
