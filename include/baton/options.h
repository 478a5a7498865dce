// ContextOptions: every setting of Baton, in one validated struct. Overrides are options, never
// environment variables.
//
// Thread rule: a value, read once by Context::create.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/export.h"
#include "baton/log.h"
#include "baton/status.h"

namespace baton {

// Who drives the data path.
enum class ProgressMode : uint8_t {
  kThread,  // a library thread does, from create to close
  kCaller,  // the caller does, by Context::progress(), from one thread at a time. Terminal states
            // then wait for it; gate errors do not
};

// One way out of the process: a plug-in opened on one device.
struct RailOptions {
  std::string plugin =
      "tcp";           // name of a linked-in plug-in ("tcp", "loopback") or of one in plugin_files
  std::string device;  // the plug-in's own: NIC, interface; empty: its default
  std::string settings;  // "key=value,key=value": docs/plugin_guide.md, "Settings"
  // Paths that this Context opens to a peer that it dials, on this rail: tcp opens as many sockets.
  // A hand-off is striped over all Paths to a peer, and survives the loss of all but one. A peer
  // has at most 8; rails take turns.
  uint32_t paths = 1;
  // For plug-ins that only reach this process: the object that connects them (loopback: its
  // fabric). Borrowed; outlives the Context.
  void* in_process = nullptr;
};

struct ContextOptions {
  // ---- identity and address
  // This Context's id to its peers; two live Contexts of one deployment do not share it. Empty:
  // host name, process id and six random hex digits.
  std::string name;
  // Where the control port binds. Change for peers on other hosts; anything but loopback wants a
  // secret.
  std::string bind_host = "127.0.0.1";
  uint16_t port = 0;  // 0: an ephemeral one; Context::address() says which
  // What peers dial when it differs from bind_host (NAT, wildcard bind). Empty: bind_host.
  std::string advertise_host;
  // A file of >= 32 random bytes that both sides share: TLS 1.3 with this pre-shared key. Empty: no
  // authentication, which is allowed on loopback only.
  std::string secret_file;
  // Allows a bind beyond loopback without a secret: anyone who reaches the port can be a peer.
  // Logged as a warning.
  bool allow_unauthenticated = false;

  // ---- rails
  std::vector<RailOptions> rails = {RailOptions{}};
  // Plug-in libraries to load (dlopen), before rails are opened. A name that a linked-in plug-in
  // has, or that comes twice, is kInvalidArgument.
  std::vector<std::string> plugin_files;

  // ---- time (all > 0; deadlines and leases at most a day)
  uint32_t heartbeat_interval_ms = 1000;
  uint32_t peer_dead_after_ms =
      5000;  // silence; >= 2 heartbeats. Longer where processes are often paused
  uint32_t connect_timeout_ms = 5000;    // dial to peer known
  uint32_t default_deadline_ms = 30000;  // of a Grant or Transfer that names none
  uint32_t default_lease_ms = 20000;     // of a Grant that names none; > 2 heartbeats

  // ---- data path
  ProgressMode progress = ProgressMode::kThread;
  std::vector<int> data_cpus;     // CPUs of the data thread; empty: wherever the scheduler puts it
  std::vector<int> control_cpus;  // CPUs of the control thread
  // How long the data thread keeps polling after the last work before it sleeps. 0: at once. Higher
  // costs a core and saves a wake-up (some 10 us) per layer.
  uint32_t busy_poll_us = 20;
  // Longest unit; 4 KiB to 16 MiB. Both sides use the smaller of their two values.
  uint32_t unit_bytes = 1u << 20;

  // ---- bounds
  // Entries between callers and the data thread; full: BUSY. A power of two, 2 to 65,536.
  uint32_t max_submissions = 4096;
  // Events of each sort that wait to be polled; what happens then: event.h. A power of two, 2 to
  // 1,048,576.
  uint32_t max_events = 65536;
  // Grants and Transfers alive at once, each; offers of one peer, too: a Grant past them ends
  // EXHAUSTED on its side. At most 65,536.
  uint32_t max_live = 4096;

  // ---- observation
  // Port of an HTTP endpoint with GET /metrics (Prometheus text) and GET /handoffs (JSON of
  // Context::dump): -1: none; 0: an ephemeral one; Context::metrics_address() says which.
  int32_t metrics_port = -1;
  // Where it binds: numeric, or "localhost". It asks nobody who they are: beyond loopback anyone
  // who reaches the port reads names of peers and tags of requests, and a warning says so.
  std::string metrics_host = "127.0.0.1";

  // ---- log
  LogLevel log_level = LogLevel::kWarning;
  LogCallback log_callback;  // unset: standard error

  // kInvalidArgument that names the field, its value and the rule.
  BATON_EXPORT Status validate() const;
};

}  // namespace baton
