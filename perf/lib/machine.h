// What a figure was measured on.
//
// Thread rule: pure reads of /proc and /sys.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace baton_perf {

struct Machine {
  std::string cpu_model;
  uint32_t cpus = 0;  // that this process may run on
  std::string kernel;
  uint64_t memory_bytes = 0;
  uint64_t last_level_cache_bytes = 0;  // 0: not readable
  std::string governor;                 // empty: not readable (usual in virtual machines)
  bool hypervisor = false;
};

Machine read_machine();
nlohmann::json to_json(const Machine& machine);

// First line of a small file, without the line break; nothing when it cannot be read.
std::optional<std::string> read_line(const std::string& path);
// The value of `key` in a "key : value" file such as /proc/cpuinfo; nothing when it is not there.
std::optional<std::string> read_field(const std::string& path, const std::string& key);
// "2026-01-31T12:00:00Z", now.
std::string utc_timestamp();

}  // namespace baton_perf
