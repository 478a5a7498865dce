// The rules of the hello, apart from sockets and other connections: who may speak with whom, in
// which version. Pure.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/control/control_options.h"
#include "src/wire/messages.h"

namespace baton::control {

// What two sides agree on.
struct Agreement {
  uint16_t version = 0;
  uint64_t features = 0;
};

// The acceptor's verdict on a Hello that arrived authenticated or not. kPermissionDenied: there is
// a secret, and the dialer used none; kMismatch: versions or features, names both ranges or the
// bits; kInvalidArgument: the dialer is this very Context; kAddressInUse: it has our name;
// kProtocolError: its name is none.
Result<Agreement> check_hello(const ControlOptions& options, const BootId& our_boot,
                              const wire::Hello& hello, bool authenticated);

// The dialer's verdict on a Welcome. Its own refusal comes back as its code and text; otherwise as
// above, and kMismatch: another Context than `expected_name` answered.
Result<Agreement> check_welcome(const ControlOptions& options, const BootId& our_boot,
                                const wire::Hello& sent, const std::string& expected_name,
                                const wire::Welcome& welcome);

}  // namespace baton::control
