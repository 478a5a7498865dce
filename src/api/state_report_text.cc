#include <fmt/format.h>

#include <iterator>

#include "src/api/state_report.h"

namespace baton::api {

namespace {

constexpr int64_t kLateNs = 2'000'000'000;

// "12.3 s", "312 ms", "45 us".
std::string duration(int64_t ns) {
  if (ns < 0) ns = 0;
  if (ns < 1'000'000) return fmt::format("{} us", ns / 1000);
  if (ns < 1'000'000'000) return fmt::format("{:.1f} ms", static_cast<double>(ns) / 1e6);
  return fmt::format("{:.2f} s", static_cast<double>(ns) / 1e9);
}

// Tags are any bytes, and a peer's.
std::string quoted(const std::string& text) {
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

std::string peer_text(uint32_t id, const std::string& name) {
  return "peer " + std::to_string(id) + (name.empty() ? "" : " " + quoted(name));
}

std::string_view phase_text(base::PathPhase phase) {
  switch (phase) {
    case base::PathPhase::kNone:
      return "not open";
    case base::PathPhase::kOpen:
      return "open";
    case base::PathPhase::kBroken:
      return "broken";
    case base::PathPhase::kFencing:
      return "being fenced";
  }
  return "unknown";
}

std::string heading(const StateReport& report) {
  std::string out = fmt::format("context {} at {} (Baton {})\n", quoted(report.context),
                                report.address, report.version);
  const std::string driver = report.caller_drives ? "the caller drives it" : "its own thread";
  if (report.last_turn_ns == 0) {
    out += "DATA PATH: has not turned yet (" + driver + ")\n";
  } else if (report.is_data_path_late()) {
    out += fmt::format("DATA PATH: has not turned for {} ({}): what follows is as old\n",
                       duration(report.now_ns - report.last_turn_ns), driver);
  } else {
    out += fmt::format("data path: turned {} ago ({})\n",
                       duration(report.now_ns - report.last_turn_ns), driver);
  }
  return out;
}

void add_peer(std::string& out, const PeerReport& peer, int64_t now_ns) {
  fmt::format_to(std::back_inserter(out), "{} at {}: {}", peer_text(peer.id, peer.name),
                 peer.address.empty() ? "?" : peer.address, peer.phase);
  if (peer.is_known) {
    out += peer.echo_ns == 0 ? ", has echoed no heartbeat yet"
                             : ", echoed what was sent " + duration(now_ns - peer.echo_ns) + " ago";
  }
  out += '\n';
  for (const PathReport& path : peer.paths) {
    fmt::format_to(std::back_inserter(out), "  path {} ({}, rail {}, epoch {}): {} since {}\n",
                   path.path, path.transport, path.rail, path.epoch, phase_text(path.phase),
                   duration(now_ns - path.since_ns));
  }
}

std::string name_of(const RequestReport& request) {
  std::string out = request.is_grant
                        ? fmt::format("grant {}", request.grant)
                        : fmt::format("transfer {} of grant {}", request.id, request.grant);
  return out + fmt::format(" ({}) tag {} {} {}", request_kind_name(request.kind),
                           quoted(request.tag), request.is_grant ? "to" : "with",
                           peer_text(request.peer, request.peer_name));
}

void add_progress(std::string& out, const RequestReport& request) {
  if (request.total_units > 0) {
    fmt::format_to(std::back_inserter(out), "  units {} of {}, layers {} of {}", request.units,
                   request.total_units, request.layers_done, request.layers);
    if (request.layers_done < request.layers) {
      fmt::format_to(std::back_inserter(out), "; layer {} has {} of {}", request.next_layer,
                     request.next_layer_units, request.next_layer_total);
    }
    out += '\n';
  }
  fmt::format_to(std::back_inserter(out), "  {} bytes{}", request.bytes,
                 request.is_grant ? "" : " posted");
  if (request.is_grant && request.blocks > 0)
    fmt::format_to(std::back_inserter(out), " in {} blocks", request.blocks);
  out += '\n';
}

void add_request(std::string& out, const RequestReport& request, int64_t now_ns) {
  fmt::format_to(std::back_inserter(out), "{}: {} for {}", name_of(request),
                 state_name(request.state), duration(now_ns - request.started_ns));
  if (request.state == State::kActive) {
    fmt::format_to(std::back_inserter(out), ", deadline in {}",
                   duration(request.deadline_ns - now_ns));
    if (request.lease_end_ns != INT64_MAX) {
      fmt::format_to(std::back_inserter(out), ", lease for {}",
                     duration(request.lease_end_ns - now_ns));
    }
  }
  out += '\n';
  if (!request.status.is_ok()) {
    fmt::format_to(std::back_inserter(out), "  cancelled {} ago: {}\n",
                   duration(now_ns - request.cancelled_ns), request.status.to_string());
  }
  if (!is_terminal(request.state)) {
    const int64_t since_ns =
        request.wait.since_ns == 0 ? request.started_ns : request.wait.since_ns;
    fmt::format_to(std::back_inserter(out), "  waits for {}, since {}\n", wait_text(request.wait),
                   duration(now_ns - since_ns));
  }
  add_progress(out, request);
}

void add_left_out(std::string& out, uint64_t count, std::string_view what) {
  if (count > 0) fmt::format_to(std::back_inserter(out), "and {} more {}\n", count, what);
}

}  // namespace

bool StateReport::is_data_path_late() const { return now_ns - last_turn_ns > kLateNs; }

std::string to_text(const StateReport& report) {
  std::string out = heading(report);
  fmt::format_to(std::back_inserter(out), "\n{} peers\n",
                 report.peers.size() + report.peers_left_out);
  for (const PeerReport& peer : report.peers) add_peer(out, peer, report.now_ns);
  add_left_out(out, report.peers_left_out, "peers");
  fmt::format_to(std::back_inserter(out), "\n{} grants made here\n",
                 report.grants.size() + report.grants_left_out);
  for (const RequestReport& grant : report.grants) add_request(out, grant, report.now_ns);
  add_left_out(out, report.grants_left_out, "grants");
  fmt::format_to(std::back_inserter(out), "\n{} transfers started here\n",
                 report.transfers.size() + report.transfers_left_out);
  for (const RequestReport& transfer : report.transfers) add_request(out, transfer, report.now_ns);
  add_left_out(out, report.transfers_left_out, "transfers");
  fmt::format_to(std::back_inserter(out), "\n{} offers of peers without a transfer\n",
                 report.offers.size() + report.offers_left_out);
  for (const OfferReport& offer : report.offers) {
    fmt::format_to(std::back_inserter(out), "grant {} tag {} of {}: on offer for {}, {} units\n",
                   offer.grant, quoted(offer.tag), peer_text(offer.peer, offer.peer_name),
                   duration(report.now_ns - offer.arrived_ns), offer.total_units);
  }
  add_left_out(out, report.offers_left_out, "offers");
  return out;
}

}  // namespace baton::api
