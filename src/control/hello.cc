#include "src/control/hello.h"

#include <algorithm>
#include <cstdio>

#include "src/control/address.h"

namespace baton::control {

namespace {

std::string versions(uint16_t first, uint16_t last) {
  return std::to_string(first) + " to " + std::to_string(last);
}

std::string bits(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

Result<Agreement> check_hello(const ControlOptions& options, const BootId& our_boot,
                              const wire::Hello& hello, bool authenticated) {
  if (!is_valid_context_name(hello.name)) {
    return Status(StatusCode::kProtocolError,
                  "the dialer's name is not 1 to 128 of [A-Za-z0-9._~-]");
  }
  const std::string both = "\"" + hello.name + "\" (dialling) and \"" + options.name + "\"";
  if (!options.secret.is_empty() && !authenticated) {
    return Status(StatusCode::kPermissionDenied,
                  both + ": \"" + options.name + "\" has a secret and \"" + hello.name +
                      "\" used none; give both the same secret file");
  }
  const uint16_t version = std::min(options.protocol_max, hello.protocol_max);
  if (version < std::max(options.protocol_min, hello.protocol_min)) {
    return Status(StatusCode::kMismatch,
                  both + ": no common protocol version: \"" + hello.name + "\" speaks " +
                      versions(hello.protocol_min, hello.protocol_max) + ", \"" + options.name +
                      "\" speaks " + versions(options.protocol_min, options.protocol_max));
  }
  if ((hello.required_features & ~options.features) != 0) {
    return Status(StatusCode::kMismatch, both + ": \"" + hello.name + "\" requires features " +
                                             bits(hello.required_features & ~options.features) +
                                             " that \"" + options.name + "\" lacks");
  }
  if ((options.required_features & ~hello.features) != 0) {
    return Status(StatusCode::kMismatch, both + ": \"" + options.name + "\" requires features " +
                                             bits(options.required_features & ~hello.features) +
                                             " that \"" + hello.name + "\" lacks");
  }
  if (hello.boot_id == our_boot) {
    return Status(StatusCode::kInvalidArgument, "\"" + options.name + "\" dialled itself");
  }
  // An observer is nobody's peer, so it may have any name.
  if (hello.name == options.name && hello.role == wire::HelloRole::kPeer) {
    return Status(StatusCode::kAddressInUse,
                  "both ends are named \"" + options.name + "\"; names are to be unique");
  }
  return Agreement{version, hello.features & options.features};
}

Result<Agreement> check_welcome(const ControlOptions& options, const BootId& our_boot,
                                const wire::Hello& sent, const std::string& expected_name,
                                const wire::Welcome& welcome) {
  if (welcome.code != StatusCode::kOk) {
    return Status(welcome.code,
                  "\"" + expected_name + "\" refused \"" + options.name + "\": " + welcome.text);
  }
  if (welcome.nonce != sent.nonce) {
    return Status(StatusCode::kProtocolError,
                  "\"" + expected_name + "\" answered another hello than ours");
  }
  if (welcome.boot_id == our_boot) {
    return Status(StatusCode::kInvalidArgument, "\"" + options.name + "\" dialled itself");
  }
  if (welcome.name != expected_name) {
    return Status(
        StatusCode::kMismatch,
        "the address names \"" + expected_name + "\", but " +
            (is_valid_context_name(welcome.name) ? "\"" + welcome.name + "\"" : "another") +
            " answered there; get its present address");
  }
  if (welcome.version < options.protocol_min || welcome.version > options.protocol_max) {
    return Status(StatusCode::kMismatch, "\"" + expected_name + "\" chose protocol version " +
                                             std::to_string(welcome.version) + ", \"" +
                                             options.name + "\" speaks " +
                                             versions(options.protocol_min, options.protocol_max));
  }
  if ((options.required_features & ~welcome.features) != 0 ||
      (welcome.features & ~options.features) != 0) {
    return Status(StatusCode::kMismatch, "\"" + expected_name + "\" agreed to features " +
                                             bits(welcome.features) + "; \"" + options.name +
                                             "\" has " + bits(options.features) + " and requires " +
                                             bits(options.required_features));
  }
  return Agreement{welcome.version, welcome.features};
}

}  // namespace baton::control
