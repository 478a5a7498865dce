// The dialer's side of an observer: asks a running Context what it is doing, once.
//
// Thread rule: pure but for the socket; any thread. Blocks at most `timeout_ms` (and in the
// resolver, for a host name).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "baton/status.h"
#include "src/control/secret.h"
#include "src/wire/messages.h"

namespace baton::control {

struct ObserverOptions {
  std::string name;  // who asks, for the other side's log; as a Context's name
  Secret secret;     // empty: none
  uint32_t timeout_ms = 5000;
  wire::StateFormat format = wire::StateFormat::kText;
};

// kInvalidArgument: the address; kPermissionDenied: the secrets differ, or one side has none;
// kNotFound: the host name; kUnavailable: nobody listens; kDeadlineExceeded: no answer in time,
// which is how a stopped process looks; kMismatch: another Context, or one that serves no
// observers; kExhausted: it has as many as it takes; kPeerLost, kProtocolError.
Result<std::string> observe(std::string_view address, const ObserverOptions& options);

}  // namespace baton::control
