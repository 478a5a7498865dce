// The listening side of a measurement: owns the remote buffer, grants it, and answers requests
// until the connecting side says "bye" or is gone.
//
// Requests (perf/pair/control_link.h):
//   hello    settings           -> machine, baseline {port, token} when one was asked for
//   prepare                     -> the remote buffer filled (reads) or poisoned (writes)
//   verify                      -> bytes_verified (writes)
//   cpu                         -> cpu_s of this process
//   again                       -> the connection ends next, and another follows (connection times)
//   bye                         -> the listener ends
//
// Thread rule: run() on one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "baton/status.h"
#include "perf/pair/settings.h"

namespace baton_perf {

// Name of the section that the listener offers from its start, and tag of its grant.
inline constexpr const char* kIdleSectionName = "baton-perf-idle";
inline constexpr const char* kGrantTag = "baton-perf";

// Opens a Context, hands its address to `on_address`, and serves one measurement. OK after "bye";
// kPeerLost: the connecting side went away in the middle.
baton::Status run_listener(const EndpointSettings& endpoint,
                           const std::function<void(const std::string& address)>& on_address);

}  // namespace baton_perf
