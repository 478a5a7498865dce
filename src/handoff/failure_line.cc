#include "src/handoff/failure_line.h"

#include <fmt/format.h>

#include <iterator>

#include "src/wire/validate.h"

namespace baton::handoff {

namespace {

// Tags and names come from peers and may hold anything: a line stays one line.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string list_of(uint32_t bits) {
  std::string out;
  for (uint32_t i = 0; i < 32; ++i) {
    if ((bits >> i & 1) == 0) continue;
    if (!out.empty()) out += ',';
    out += std::to_string(i);
  }
  return out.empty() ? "none" : out;
}

}  // namespace

std::string failure_line(const FailedRequest& request) {
  std::string out =
      fmt::format("{} failed: code={} grant={}", request.transfer ? "transfer" : "grant",
                  status_code_name(request.why.code()), request.grant.value);
  const auto to = std::back_inserter(out);
  if (request.transfer) fmt::format_to(to, " transfer={}", request.transfer.value);
  fmt::format_to(to, " tag={} peer={} name={} units={}/{} fenced={} after_ms={}: {}",
                 quoted(request.tag), request.peer.value, quoted(request.peer_name), request.units,
                 request.total_units, list_of(request.fenced_paths), request.after_ns / 1'000'000,
                 wire::printable(request.why.message()));
  return out;
}

std::string fence_line(const FencedPath& path) {
  return fmt::format(
      "path fenced: cause={} path={} transport={} epoch={} peer={} name={} grants={} "
      "transfers={}: {}",
      fence_cause_name(path.cause), path.path, path.transport, path.epoch.value, path.peer.value,
      quoted(path.peer_name), path.grants, path.transfers, wire::printable(path.why.message()));
}

}  // namespace baton::handoff
