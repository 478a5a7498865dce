// ControlAddress: the one string that a user passes from one side to the other,
//
//     baton://HOST:PORT/NAME?auth=psk        HOST is a name, IPv4, or IPv6 in brackets
//
// Thread rule: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "baton/status.h"

namespace baton::control {

inline constexpr size_t kMaxAddressBytes = 512;
inline constexpr size_t kMaxContextNameBytes = 128;

enum class AuthMode : uint8_t { kUnknown, kNone, kPsk };

struct ControlAddress {
  std::string host;  // without brackets
  uint16_t port = 0;
  std::string name;  // id of the Context that is expected there
  AuthMode auth = AuthMode::kUnknown;

  friend bool operator==(const ControlAddress&, const ControlAddress&) = default;
};

// Whether `name` is 1 to 128 of [A-Za-z0-9._~-].
bool is_valid_context_name(std::string_view name);

// kInvalidArgument: says which part, and what is wanted. Unknown parameters after '?' are refused.
Result<ControlAddress> parse_address(std::string_view text);
// The inverse. REQUIRES: parse_address could have made it.
std::string format_address(const ControlAddress& address);

}  // namespace baton::control
