#include "baton/options.h"

#include <bit>

#include <fmt/format.h>

#include "src/base/limits.h"
#include "src/control/socket.h"
#include "src/wire/validate.h"

namespace baton {

namespace {

Status wrong(std::string_view field, std::string_view value, std::string_view rule) {
  return Status(StatusCode::kInvalidArgument,
                fmt::format("ContextOptions::{} is {}: {}", field, value, rule));
}

Status positive(std::string_view field, uint32_t value) {
  if (value > 0) return Status::ok();
  return wrong(field, "0", "must be at least 1");
}

Status check_rails(const std::vector<RailOptions>& rails) {
  if (rails.empty()) return wrong("rails", "empty", "at least one rail");
  if (rails.size() > wire::kMaxRails)
    return wrong("rails", fmt::format("{} rails", rails.size()), "at most 256");
  for (size_t i = 0; i < rails.size(); ++i) {
    if (rails[i].plugin.empty())
      return wrong(fmt::format("rails[{}].plugin", i), "empty", "the name of a plug-in");
    if (rails[i].paths == 0 || rails[i].paths > base::kMaxPathsPerPeer) {
      return wrong(fmt::format("rails[{}].paths", i), std::to_string(rails[i].paths), "1 to 8");
    }
    const std::string& device = rails[i].device;
    if (device.size() > wire::kMaxNameBytes || !wire::is_printable(device)) {
      return wrong(fmt::format("rails[{}].device", i),
                   fmt::format("\"{}\"", wire::printable(device)),
                   "at most 255 bytes, without control characters");
    }
  }
  return Status::ok();
}

// A queue's size: a power of two, and no more than memory that is taken for it at once.
Status check_size(std::string_view field, uint32_t value, uint32_t most) {
  if (value >= 2 && value <= most && std::has_single_bit(value)) return Status::ok();
  return wrong(field, std::to_string(value), fmt::format("a power of two, 2 to {}", most));
}

Status check_times(const ContextOptions& options) {
  BATON_RETURN_IF_ERROR(positive("heartbeat_interval_ms", options.heartbeat_interval_ms));
  BATON_RETURN_IF_ERROR(positive("connect_timeout_ms", options.connect_timeout_ms));
  BATON_RETURN_IF_ERROR(positive("default_deadline_ms", options.default_deadline_ms));
  if (options.peer_dead_after_ms / 2 < options.heartbeat_interval_ms) {
    return wrong("peer_dead_after_ms", std::to_string(options.peer_dead_after_ms),
                 fmt::format("at least two heartbeats of {} ms", options.heartbeat_interval_ms));
  }
  if (options.default_lease_ms / 2 <= options.heartbeat_interval_ms) {
    return wrong("default_lease_ms", std::to_string(options.default_lease_ms),
                 fmt::format("more than two heartbeats of {} ms", options.heartbeat_interval_ms));
  }
  if (options.default_deadline_ms > wire::kMaxLeaseMs)
    return wrong("default_deadline_ms", std::to_string(options.default_deadline_ms),
                 "at most a day");
  if (options.default_lease_ms > wire::kMaxLeaseMs)
    return wrong("default_lease_ms", std::to_string(options.default_lease_ms), "at most a day");
  return Status::ok();
}

}  // namespace

Status ContextOptions::validate() const {
  constexpr uint32_t kMinUnitBytes = 4u << 10;
  constexpr uint32_t kMaxUnitBytes = 16u << 20;
  constexpr uint32_t kMaxLive = 1u << 16;
  constexpr uint32_t kMaxSubmissions = 1u << 16;
  constexpr uint32_t kMaxEvents = 1u << 20;
  constexpr size_t kMaxNameBytes = 128;
  if (name.size() > kMaxNameBytes)
    return wrong("name", fmt::format("{} bytes long", name.size()), "at most 128");
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.';
    if (!plain)
      return wrong("name", fmt::format("\"{}\"", name), "letters, digits, '-', '_' and '.' only");
  }
  if (bind_host.empty())
    return wrong("bind_host", "empty", "a host name or address, for instance 127.0.0.1 or ::1");
  BATON_RETURN_IF_ERROR(check_rails(rails));
  BATON_RETURN_IF_ERROR(check_times(*this));
  if (unit_bytes < kMinUnitBytes || unit_bytes > kMaxUnitBytes) {
    return wrong("unit_bytes", std::to_string(unit_bytes), "4096 to 16777216");
  }
  BATON_RETURN_IF_ERROR(check_size("max_submissions", max_submissions, kMaxSubmissions));
  BATON_RETURN_IF_ERROR(check_size("max_events", max_events, kMaxEvents));
  if (max_live == 0 || max_live > kMaxLive)
    return wrong("max_live", std::to_string(max_live), "1 to 65536");
  if (metrics_port < -1 || metrics_port > 65535)
    return wrong("metrics_port", std::to_string(metrics_port), "-1, or 0 to 65535");
  const bool has_metrics = metrics_port >= 0;
  if (has_metrics && !control::numeric_address(metrics_host, 0).is_ok())
    return wrong("metrics_host", fmt::format("\"{}\"", metrics_host),
                 "a numeric address, or localhost");
  return Status::ok();
}

}  // namespace baton
