#include "src/control/address.h"

#include <algorithm>
#include <charconv>

namespace baton::control {

namespace {

constexpr std::string_view kScheme = "baton://";

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Status bad(std::string_view text, const std::string& why) {
  std::string shown(text.substr(0, 200));
  for (char& c : shown) {
    if (c < 0x20 || c == 0x7f) c = '?';
  }
  return Status(StatusCode::kInvalidArgument,
                "address \"" + shown + "\": " + why + "; wanted: baton://HOST:PORT/NAME?auth=psk");
}

// "HOST:PORT" or "[V6]:PORT" -> both parts, or an empty host.
std::pair<std::string_view, std::string_view> split_authority(std::string_view authority) {
  if (!authority.empty() && authority[0] == '[') {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos || authority.substr(close + 1, 1) != ":") return {};
    return {authority.substr(1, close - 1), authority.substr(close + 2)};
  }
  const size_t colon = authority.find(':');
  if (colon == std::string_view::npos || colon != authority.rfind(':')) return {};
  return {authority.substr(0, colon), authority.substr(colon + 1)};
}

bool is_valid_host(std::string_view host, bool bracketed) {
  // Brackets hold IPv6 and nothing else, so that there is one way to write an address.
  if (bracketed && host.find(':') == std::string_view::npos) return false;
  return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [&](char c) {
    return is_alphanumeric(c) || c == '.' || c == '-' || c == '_' ||
           (bracketed && (c == ':' || c == '%'));
  });
}

}  // namespace

bool is_valid_context_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxContextNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_alphanumeric(c) || c == '.' || c == '_' || c == '~' || c == '-';
         });
}

Result<ControlAddress> parse_address(std::string_view text) {
  if (text.size() > kMaxAddressBytes) {
    return bad(text, "is " + std::to_string(text.size()) + " bytes long");
  }
  if (text.substr(0, kScheme.size()) != kScheme) return bad(text, "does not begin with baton://");
  std::string_view rest = text.substr(kScheme.size());
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return bad(text, "has no /NAME");
  const std::string_view authority = rest.substr(0, slash);
  rest.remove_prefix(slash + 1);

  ControlAddress address;
  const auto [host, port] = split_authority(authority);
  if (!is_valid_host(host, authority.substr(0, 1) == "["))
    return bad(text, "has no HOST:PORT (IPv6 in brackets)");
  address.host = host;
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size() || address.port == 0) {
    return bad(text, "has no port in 1 to 65535");
  }
  const size_t question = rest.find('?');
  address.name = rest.substr(0, question);
  if (!is_valid_context_name(address.name))
    return bad(text, "NAME is not 1 to 128 of [A-Za-z0-9._~-]");
  if (question != std::string_view::npos) {
    const std::string_view query = rest.substr(question + 1);
    if (query == "auth=psk") {
      address.auth = AuthMode::kPsk;
    } else if (query == "auth=none") {
      address.auth = AuthMode::kNone;
    } else {
      return bad(text, "knows only ?auth=psk and ?auth=none");
    }
  }
  return address;
}

std::string format_address(const ControlAddress& address) {
  std::string out(kScheme);
  const bool v6 = address.host.find(':') != std::string::npos;
  out += v6 ? "[" + address.host + "]" : address.host;
  out += ":" + std::to_string(address.port) + "/" + address.name;
  if (address.auth == AuthMode::kPsk) out += "?auth=psk";
  if (address.auth == AuthMode::kNone) out += "?auth=none";
  return out;
}

}  // namespace baton::control
