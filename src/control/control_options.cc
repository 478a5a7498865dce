#include "src/control/control_options.h"

#include "src/control/address.h"
#include "src/control/socket.h"

namespace baton::control {

namespace {

Status invalid(const std::string& what) { return Status(StatusCode::kInvalidArgument, what); }

}  // namespace

Status ControlOptions::validate() const {
  if (!is_valid_context_name(name)) {
    return invalid("name \"" + name + "\" is not 1 to 128 of [A-Za-z0-9._~-]");
  }
  const auto bind_address = numeric_address(bind_host, port);
  if (!bind_address.is_ok()) return invalid("bind_host: " + bind_address.status().message());
  if (!bind_address->is_loopback() && secret.is_empty() && !allow_unauthenticated) {
    return Status(StatusCode::kPermissionDenied,
                  "bind_host " + bind_host +
                      " is not loopback and there is no secret: anyone who reaches the port could "
                      "be a peer. Give "
                      "both sides a secret file, or set allow_unauthenticated");
  }
  if (!parse_address(format_address({advertise_host.empty() ? bind_host : advertise_host, 1, name,
                                     AuthMode::kNone}))
           .is_ok()) {
    return invalid("advertise_host \"" + advertise_host + "\" is no host");
  }
  if (heartbeat_interval_ms == 0) return invalid("heartbeat_interval_ms is 0");
  if (dead_after_ms / 2 < heartbeat_interval_ms) {
    return invalid("dead_after_ms " + std::to_string(dead_after_ms) +
                   " is less than two heartbeats of " + std::to_string(heartbeat_interval_ms) +
                   " ms");
  }
  if (dial_timeout_ms == 0) return invalid("dial_timeout_ms is 0");
  if (protocol_min == 0 || protocol_min > protocol_max) {
    return invalid("protocol versions " + std::to_string(protocol_min) + " to " +
                   std::to_string(protocol_max) + " are no range");
  }
  if ((required_features & ~features) != 0)
    return invalid("required_features has bits that features lacks");
  if (limits.max_half_open == 0 || limits.max_peers == 0 || limits.hello_timeout_ms == 0 ||
      limits.probe_timeout_ms == 0 || limits.send_queue_bytes == 0 ||
      limits.observer_timeout_ms == 0) {
    return invalid("a limit is 0");
  }
  return Status::ok();
}

}  // namespace baton::control
