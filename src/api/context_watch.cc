// What somebody who watches a Context sees: counts, and a look at everything that is under way. Of
// the data path only atomics are read, so that it may stand still, or never have been driven.
#include <algorithm>
#include <map>

#include "baton/version.h"
#include "src/api/context_impl.h"
#include "src/api/lease.h"

namespace baton::api {

namespace {

// Longer tags are cut in reports.
constexpr size_t kTagBytes = 128;

std::string short_tag(const std::string& tag) {
  return tag.size() <= kTagBytes ? tag : tag.substr(0, kTagBytes) + "...";
}

std::vector<PathReport> look_at_paths(const base::PeerMeters& meters) {
  std::vector<PathReport> out;
  for (uint32_t i = 0; i < meters.paths.size(); ++i) {
    const base::PathMeters& path = meters.paths[i];
    const char* transport = path.transport.load(std::memory_order_relaxed);
    if (transport == nullptr) continue;
    PathReport report;
    report.path = i;
    report.rail = path.rail.load(std::memory_order_relaxed);
    report.transport = transport;
    report.epoch = path.epoch.load(std::memory_order_relaxed);
    report.phase = path.phase.load(std::memory_order_relaxed);
    report.since_ns = path.phase_since_ns.load(std::memory_order_relaxed);
    out.push_back(std::move(report));
  }
  return out;
}

// What Grants and Transfers have in common. `basis_ns`: of the lease.
template <typename Request>
RequestReport look_at_any(const Request& request, const PeersSeen& peers, int64_t now_ns) {
  RequestReport out;
  out.kind = request.request_kind();
  out.tag = short_tag(request.tag);
  out.peer = request.peer.value;
  const auto peer = peers.find(request.peer);
  if (peer != peers.end()) {
    out.peer_name = peer->second.name;
    out.lease_end_ns = lease_end_ns(peer->second.lease_basis_ns, watched_lease_ns(request));
  } else if (request.meters != nullptr) {
    out.peer_name = request.meters->name;
  }
  out.state = request.life.state();
  if (out.state == State::kCancelling) {
    out.status = request.life.status();
    out.cancelled_ns = request.cancelled_ns.load(std::memory_order_relaxed);
    if (out.cancelled_ns == 0) out.cancelled_ns = now_ns;
  }
  out.deadline_ns = request.deadline_ns;
  out.wait = request.wait.look();
  out.layers = request.num_layers;
  return out;
}

// `counted`: units of a layer that are here, or signalled.
template <typename Layers, typename Counted>
void look_at_layers(const Layers& layers, const Counted& counted, RequestReport& out) {
  bool found = false;
  for (uint32_t i = 0; i < out.layers; ++i) {
    const uint64_t units = counted(layers[i]);
    out.units += units;
    out.total_units += layers[i].units;
    if (units >= layers[i].units) {
      ++out.layers_done;
    } else if (!std::exchange(found, true)) {
      out.next_layer = i;
      out.next_layer_units = units;
      out.next_layer_total = layers[i].units;
    }
  }
}

RequestReport look_at(const handoff::GrantState& grant, const PeersSeen& peers, int64_t now_ns) {
  RequestReport out = look_at_any(grant, peers, now_ns);
  out.is_grant = true;
  out.grant = grant.id.value;
  out.started_ns = grant.granted_ns;
  out.bytes = grant.total_bytes;
  out.blocks = grant.num_blocks();
  look_at_layers(
      grant.layers, [](const auto& layer) { return layer.counted.load(std::memory_order_relaxed); },
      out);
  return out;
}

RequestReport look_at(const handoff::TransferState& transfer, const PeersSeen& peers,
                      int64_t now_ns) {
  RequestReport out = look_at_any(transfer, peers, now_ns);
  out.id = transfer.id.value;
  out.grant = transfer.grant.value;
  out.started_ns = transfer.submitted_ns;
  out.bytes = transfer.bytes_posted.load(std::memory_order_relaxed);
  look_at_layers(
      transfer.layers,
      [](const auto& layer) { return layer.signalled.load(std::memory_order_relaxed); }, out);
  return out;
}

// The oldest kMaxReported; returns how many were left out.
template <typename Item, typename Older>
uint64_t keep_oldest(std::vector<Item>& items, const Older& older) {
  std::sort(items.begin(), items.end(), older);
  if (items.size() <= kMaxReported) return 0;
  const uint64_t left_out = items.size() - kMaxReported;
  items.resize(kMaxReported);
  return left_out;
}

}  // namespace

// ---- counting

Status ContextImpl::start_metrics() {
  if (options_.metrics_port < 0) return Status::ok();
  HttpServer::Options options;
  options.host = options_.metrics_host;
  options.port = static_cast<uint16_t>(options_.metrics_port);
  auto handler = [this](const std::string& path) -> std::optional<HttpServer::Content> {
    if (path == "/metrics") {
      return HttpServer::Content{"text/plain; version=0.0.4; charset=utf-8",
                                 prometheus_text(metrics())};
    }
    if (path == "/handoffs")
      return HttpServer::Content{"application/json", dump(DumpFormat::kJson)};
    return std::nullopt;
  };
  auto server = HttpServer::start(options, std::move(handler), &meters_, logger_);
  if (!server.is_ok()) return server.status();
  http_ = std::move(server).value();
  metrics_address_ = http_->address();
  return Status::ok();
}

void ContextImpl::count_loss(PeerEntry& entry, StatusCode code) {
  if (entry.meters == nullptr) return;
  entry.meters->losses[static_cast<size_t>(code)].add();
  const std::string name = entry.meters->name;
  entry.meters.reset();
  peer_meters_.close(name);
}

void ContextImpl::count_end(const handoff::GrantState& grant) {
  if (grant.meters == nullptr) return;
  grant.meters->of(grant.request_kind()).end(grant.life.status().code());
  const int64_t ended_ns = grant.life.ended_ns();
  if (grant.life.state() == State::kDone) {
    grant.meters->grant_time.observe(ended_ns - grant.granted_ns);
  } else {
    grant.meters->quarantine.observe(ended_ns - grant.cancelled_ns.load(std::memory_order_relaxed));
  }
}

void ContextImpl::count_end(const handoff::TransferState& transfer) {
  if (transfer.meters == nullptr) return;
  transfer.meters->of(transfer.request_kind()).end(transfer.life.status().code());
}

void ContextImpl::on_peer_lost_after(PeerId peer, int64_t silent_ns) {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  const auto found = peers_.find(peer);
  if (found != peers_.end() && found->second.meters != nullptr)
    found->second.meters->detection.observe(silent_ns);
}

Metrics ContextImpl::metrics() const {
  Metrics out;
  const int64_t now_ns = clock_.now_ns();
  out.context = options_.name;
  out.version = std::string(version());
  out.uptime_seconds = static_cast<double>(now_ns - created_ns_) / 1e9;
  const int64_t turned_ns = meters_.last_turn_ns.load(std::memory_order_relaxed);
  if (turned_ns != 0) {
    out.data_turn_age_seconds = static_cast<double>(std::max<int64_t>(now_ns - turned_ns, 0)) / 1e9;
  }
  out.free_counter_slots = counters_->num_free();
  for (size_t i = 0; i < out.busy.size(); ++i) out.busy[i] = meters_.busy[i].value();
  out.events_lost = events_->lost_in_all();
  out.log_messages_dropped = logger_.dropped();
  out.http_requests = meters_.http_requests.value();
  out.http_refused = meters_.http_refused.value();
  out.peers = peer_meters_.read();
  const std::lock_guard<std::mutex> lock(state_mutex_);
  out.live_grants = live_grants_.size();
  out.live_transfers = live_transfers_.size();
  out.offers = offers_.size();
  for (const auto& [id, grant] : live_grants_) {
    if (grant->life.state() != State::kCancelling || grant->meters == nullptr) continue;
    const std::string& name = grant->meters->name;
    const auto peer = std::find_if(out.peers.begin(), out.peers.end(),
                                   [&](const PeerMetrics& one) { return one.name == name; });
    if (peer == out.peers.end()) continue;
    ++peer->quarantined_grants;
    peer->quarantined_blocks += grant->num_blocks();
    peer->quarantined_bytes += grant->total_bytes;
  }
  return out;
}

// ---- looking

std::string ContextImpl::dump(DumpFormat format) const {
  const StateReport report = look();
  return format == DumpFormat::kJson ? to_json(report) : to_text(report);
}

std::string ContextImpl::describe_state(wire::StateFormat format) {
  return dump(format == wire::StateFormat::kJson ? DumpFormat::kJson : DumpFormat::kText);
}

const char* ContextImpl::phase_text(PeerPhase phase) {
  switch (phase) {
    case PeerPhase::kDialling:
      return "dialling";
    case PeerPhase::kOpeningPath:
      return "opening a path";
    case PeerPhase::kReady:
      return "ready";
    case PeerPhase::kFailed:
      return "failed";
  }
  return "unknown";
}

void ContextImpl::look_at_peers(PeersSeen& seen, StateReport& out) const {
  for (const auto& [id, entry] : peers_) {
    seen[id] = {entry.info.name, entry.lease_basis_ns};
    if (out.peers.size() == kMaxReported) {
      ++out.peers_left_out;
      continue;
    }
    PeerReport peer;
    peer.id = id.value;
    peer.name = entry.info.name;
    peer.address = entry.info.remote_address;
    peer.phase = phase_text(entry.phase);
    peer.echo_ns = entry.lease_basis_ns;
    peer.is_known = entry.meters != nullptr;
    if (entry.meters != nullptr) peer.paths = look_at_paths(*entry.meters);
    out.peers.push_back(std::move(peer));
  }
}

void ContextImpl::look_at_offers(StateReport& out) const {
  for (const auto& [id, offer] : offers_) {
    if (offer.taken) continue;
    OfferReport report;
    report.grant = id.value;
    report.tag = short_tag(offer.message.tag);
    report.peer = offer.peer.value;
    const auto peer = peers_.find(offer.peer);
    if (peer != peers_.end()) report.peer_name = peer->second.info.name;
    report.arrived_ns = offer.arrived_ns;
    for (const uint32_t units : offer.message.units_per_slot) report.total_units += units;
    out.offers.push_back(std::move(report));
  }
}

StateReport ContextImpl::look() const {
  StateReport out;
  out.context = options_.name;
  out.address = address_;
  out.version = std::string(version());
  out.caller_drives = options_.progress == ProgressMode::kCaller;
  std::vector<std::shared_ptr<handoff::GrantState>> grants;
  std::vector<std::shared_ptr<handoff::TransferState>> transfers;
  PeersSeen peers;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    look_at_peers(peers, out);
    for (const auto& [id, grant] : live_grants_) grants.push_back(grant);
    for (const auto& [id, transfer] : live_transfers_) transfers.push_back(transfer);
    look_at_offers(out);
  }
  out.now_ns = clock_.now_ns();
  out.last_turn_ns = meters_.last_turn_ns.load(std::memory_order_relaxed);
  out.grants_left_out = keep_oldest(
      grants, [](const auto& a, const auto& b) { return a->granted_ns < b->granted_ns; });
  out.transfers_left_out = keep_oldest(
      transfers, [](const auto& a, const auto& b) { return a->submitted_ns < b->submitted_ns; });
  out.offers_left_out = keep_oldest(
      out.offers, [](const auto& a, const auto& b) { return a.arrived_ns < b.arrived_ns; });
  for (const auto& grant : grants) out.grants.push_back(look_at(*grant, peers, out.now_ns));
  for (const auto& transfer : transfers)
    out.transfers.push_back(look_at(*transfer, peers, out.now_ns));
  return out;
}

}  // namespace baton::api
