// ControlOptions: settings of a ControlPlane, and what it says of its peers.
//
// Thread rule: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/control/secret.h"
#include "src/wire/messages.h"

namespace baton::control {

inline constexpr uint16_t kProtocolVersion = 2;

// Feature bits.
// This side serves observers: it knows HelloRole, StateRequest and StateReply.
inline constexpr uint64_t kFeatureObservers = 1;

struct ControlLimits {
  uint32_t max_half_open = 64;  // connections that have not proven themselves; oldest evicted
  // Connections that have; and as many again that are held or leaving, of which the oldest is
  // evicted.
  uint32_t max_peers = 1024;
  uint32_t max_observers = 4;            // at a time; one more is refused
  uint32_t observer_timeout_ms = 10000;  // from an observer's Welcome to its end
  uint32_t hello_timeout_ms = 2000;      // from accept to a proven hello, and from there to up
  uint32_t probe_timeout_ms = 1000;      // how long a live connection has to defend its name
  // Bytes waiting for one peer. A message that finds the queue empty is always taken.
  size_t send_queue_bytes = size_t{16} << 20;
  // How long stop() waits for Goodbyes to leave.
  uint32_t goodbye_timeout_ms = 200;
};

struct ControlOptions {
  // Id of this Context: 1 to 128 of [A-Za-z0-9._~-].
  std::string name;
  std::string bind_host = "127.0.0.1";  // numeric IPv4 or IPv6, or "localhost"
  uint16_t port = 0;                    // 0: an ephemeral one
  std::string advertise_host;           // empty: bind_host
  Secret secret;                        // empty: no authentication
  bool allow_unauthenticated = false;   // permits a bind beyond loopback without a secret
  uint32_t heartbeat_interval_ms = 1000;
  uint32_t dead_after_ms = 5000;    // >= 2 heartbeats
  uint32_t dial_timeout_ms = 5000;  // dial() to on_peer_up, open_stream() to on_stream
  uint16_t protocol_min = kProtocolVersion;
  uint16_t protocol_max = kProtocolVersion;
  uint64_t features = 0;
  uint64_t required_features = 0;
  // Zero (as it is by default): made at start. Given by tests that play a restarted process.
  BootId boot_id{};
  std::vector<int> cpus;  // of the control thread
  ControlLimits limits;

  // kInvalidArgument that names the field; kPermissionDenied: open bind without a secret.
  Status validate() const;
};

// A peer that is up.
struct PeerInfo {
  std::string name;
  BootId boot_id{};
  uint64_t incarnation = 0;
  std::string address;         // where it says that it can be dialled
  std::string remote_address;  // other end of the connection: "127.0.0.1:41873", "[::1]:41873"
  uint16_t version = 0;
  uint64_t features = 0;    // of both
  uint32_t unit_bytes = 0;  // the smaller of both
  bool dialed_by_us = false;
  bool authenticated = false;
  wire::Describe describe;
};

}  // namespace baton::control
