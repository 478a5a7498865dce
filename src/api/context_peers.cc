// Peers: connections that are up and lost, and what the control thread does when time or a peer is
// over.
#include <algorithm>

#include "src/api/context_impl.h"
#include "src/api/lease.h"

namespace baton::api {

namespace {

constexpr int64_t kMsNs = 1'000'000;
// When the data thread's lane was full: how soon the control thread offers again.
constexpr int64_t kBacklogRetryNs = 1 * kMsNs;

std::string peer_text(PeerId peer) { return "peer " + std::to_string(peer.value); }

// Costs what the change is long, not what is known: a peer may send many small ones.
template <typename Id, typename Described>
void apply_change(std::map<Id, Described>& known, std::vector<Described> added,
                  const std::vector<Id>& withdrawn) {
  for (Described& one : added) {
    const Id id = one.id;
    known.insert_or_assign(id, std::move(one));
  }
  for (const Id id : withdrawn) known.erase(id);
}

// False: `message` does not change what its sender offers.
bool apply_change(std::map<SectionId, wire::SectionDescription>& known_sections,
                  std::map<CacheId, wire::CacheDescription>& known_caches, wire::Message& message) {
  if (auto* sections = std::get_if<wire::SectionsChanged>(&message)) {
    apply_change(known_sections, std::move(sections->added), sections->withdrawn);
    return true;
  }
  if (auto* caches = std::get_if<wire::CachesChanged>(&message)) {
    apply_change(known_caches, std::move(caches->added), caches->withdrawn);
    return true;
  }
  return false;
}

}  // namespace

// ---- callers

Status ContextImpl::disconnect(PeerId peer) {
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    if (peers_.count(peer) == 0)
      return Status(StatusCode::kNotFound, peer_text(peer) + " is not connected");
  }
  control_->disconnect(peer, Status(StatusCode::kPeerLost, "disconnected by " + options_.name));
  return Status::ok();
}

Result<ContextImpl::PeerEntry> ContextImpl::ready_peer(PeerId peer) const {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  const auto found = peers_.find(peer);
  if (found == peers_.end())
    return Status(StatusCode::kNotFound, peer_text(peer) + " is not connected");
  if (found->second.phase == PeerPhase::kFailed) return found->second.failure;
  if (found->second.phase != PeerPhase::kReady) {
    return Status(StatusCode::kFailedPrecondition, peer_text(peer) + " is still being connected");
  }
  return found->second;
}

Result<PeerDescription> ContextImpl::describe_peer(PeerId peer) const {
  auto entry = ready_peer(peer);
  if (!entry.is_ok()) return entry.status();
  PeerDescription out;
  out.id = peer;
  out.name = entry->info.name;
  out.boot_id = entry->info.boot_id;
  out.incarnation = entry->info.incarnation;
  out.remote_address = entry->info.remote_address;
  out.authenticated = entry->info.authenticated;
  out.unit_bytes = entry->info.unit_bytes;
  out.transport = options_.rails[entry->local_rail.value].plugin;
  for (const PeerPath& path : entry->paths) {
    if (path.phase == PathPhase::kOpen) ++out.open_paths;
  }
  for (const auto& [id, section] : entry->sections) {
    out.sections.push_back({section.id, section.name, section.kind, section.length_bytes});
  }
  for (const auto& [id, cache] : entry->caches)
    out.caches.push_back({cache.id, cache.name, cache.layout});
  return out;
}

std::vector<PeerId> ContextImpl::peers() const {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  std::vector<PeerId> out;
  for (const auto& [peer, entry] : peers_) {
    if (entry.phase == PeerPhase::kReady) out.push_back(peer);
  }
  return out;
}

Status ContextImpl::send_message(PeerId peer, uint64_t tag, std::span<const uint8_t> bytes) {
  BATON_RETURN_IF_ERROR(check_open());
  if (bytes.size() > wire::kMaxNotifyBytes) {
    return Status(StatusCode::kInvalidArgument, "a message of " + std::to_string(bytes.size()) +
                                                    " bytes: at most " +
                                                    std::to_string(wire::kMaxNotifyBytes));
  }
  wire::Notify notify;
  notify.tag = tag;
  notify.bytes.assign(bytes.begin(), bytes.end());
  return control_->send(peer, notify);
}

void ContextImpl::tell_all(const wire::Message& message) {
  Status told = control_->broadcast(message);
  if (!told.is_ok()) logger_.warning("telling peers of a change: {}", told.to_string());
}

// ---- data thread

Status ContextImpl::send(PeerId peer, const wire::Message& message) {
  Status sent = control_->send(peer, message);
  if (const auto* offer = std::get_if<wire::GrantOffer>(&message)) {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    end_offer(peer, offer->grant);
  }
  return sent;
}

void ContextImpl::drop_peer(PeerId peer, const Status& why) { control_->disconnect(peer, why); }

int64_t ContextImpl::lease_basis_ns(PeerId peer) {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  const auto found = peers_.find(peer);
  return found == peers_.end() ? 0 : found->second.lease_basis_ns;
}

// ---- control thread

wire::Describe ContextImpl::describe_self() {
  wire::Describe out;
  out.unit_bytes = options_.unit_bytes;
  out.heartbeat_interval_ms = options_.heartbeat_interval_ms;
  out.dead_after_ms = options_.peer_dead_after_ms;
  for (const auto& rail : rails_) {
    wire::RailDescription described;
    described.rail = rail->index();
    described.plugin = rail->name();
    described.device = options_.rails[rail->index().value].device;
    described.capabilities = rail->capabilities().flags;
    described.receive_depth = rail->capabilities().receive_depth;
    out.rails.push_back(std::move(described));
  }
  for (const auto& section : sections_.snapshot()) {
    wire::SectionDescription described;
    described.id = section.id;
    described.name = section.name;
    described.kind = section.kind;
    described.length_bytes = section.length_bytes;
    for (const auto& key : section.rail_keys)
      described.keys.push_back({key.rail, key.key, key.base});
    out.sections.push_back(std::move(described));
  }
  const std::lock_guard<std::mutex> lock(state_mutex_);
  for (const auto& [id, cache] : caches_) out.caches.push_back({id, cache.name, *cache.layout});
  return out;
}

Status ContextImpl::check_peer(const wire::Describe& theirs) {
  std::string ours_text;
  std::string theirs_text;
  for (const auto& rail : rails_) {
    ours_text += (ours_text.empty() ? "" : ", ") + rail->name();
    for (const auto& other : theirs.rails) {
      if (other.plugin == rail->name()) return Status::ok();
    }
  }
  for (const auto& other : theirs.rails)
    theirs_text += (theirs_text.empty() ? "" : ", ") + other.plugin;
  return Status(StatusCode::kMismatch, "no transport in common: " + options_.name + " has " +
                                           ours_text + ", the peer has " +
                                           (theirs_text.empty() ? "none" : theirs_text));
}

void ContextImpl::pass_to_data(handoff::Command&& command) {
  backlog_.push_back(std::move(command));
  if (!flush_backlog()) control_->set_alarm(clock_.now_ns() + kBacklogRetryNs);
}

bool ContextImpl::flush_backlog() {
  while (!backlog_.empty()) {
    if (!engine_->from_control(std::move(backlog_.front()))) return false;
    backlog_.pop_front();
  }
  return true;
}

// A peer of which the data thread has not heard yet need not be mentioned any more: peers that come
// and go while nobody drives the data path leave nothing behind.
bool ContextImpl::forget_unseen_peer(PeerId peer) {
  const bool unseen = std::any_of(backlog_.begin(), backlog_.end(), [peer](const auto& command) {
    const auto* up = std::get_if<handoff::PeerUp>(&command);
    return up != nullptr && up->peer == peer;
  });
  if (!unseen) return false;
  std::erase_if(backlog_, [peer](const auto& command) {
    return std::visit(
        [peer](const auto& one) {
          if constexpr (requires { PeerId(one.peer); }) return one.peer == peer;
          return false;
        },
        command);
  });
  return true;
}

void ContextImpl::on_peer_up(PeerId peer, const control::PeerInfo& info) {
  std::shared_ptr<base::PeerMeters> meters;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    PeerEntry& entry = peers_[peer];
    entry.phase = PeerPhase::kOpeningPath;
    entry.dialer_waits = entry.dialer_waits && info.dialed_by_us;
    entry.info = info;
    entry.meters = meters = peer_meters_.open(info.name);
    wire::Describe& describe = entry.info.describe;
    apply_change(entry.sections, std::exchange(describe.sections, {}), {});
    apply_change(entry.caches, std::exchange(describe.caches, {}), {});
  }
  pass_to_data(handoff::PeerUp{peer, info.unit_bytes, std::move(meters)});
  if (info.dialed_by_us) begin_paths(peer);
}

void ContextImpl::on_peer_down(PeerId peer, const Status& why) {
  bool report = false;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found != peers_.end()) {
      report = found->second.reported;
      count_loss(found->second, why.code());
      if (!report && found->second.is_awaited()) {
        found->second.phase = PeerPhase::kFailed;
        if (found->second.failure.is_ok()) found->second.failure = why;
      } else {
        peers_.erase(found);
      }
    }
    std::erase_if(offers_, [&](const auto& offer) {
      if (offer.second.peer != peer) return false;
      events_->withdraw(offer.second.event);
      return true;
    });
  }
  state_changed_.notify_all();
  // Gates first: they do not wait for the data thread.
  fail_peer_requests(peer,
                     Status(StatusCode::kPeerLost, peer_text(peer) + " is lost: " + why.message()));
  if (!forget_unseen_peer(peer))
    pass_to_data(handoff::PeerDown{peer, Status(StatusCode::kPeerLost, why.message())});
  if (!report) return;
  Event event;
  event.kind = EventKind::kPeerDown;
  event.peer = peer;
  event.status = why;
  emit(std::move(event));
}

void ContextImpl::fail_peer_requests(PeerId peer, const Status& why) {
  std::vector<std::shared_ptr<handoff::GrantState>> grants;
  std::vector<std::shared_ptr<handoff::TransferState>> transfers;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    for (const auto& [id, grant] : live_grants_) {
      if (grant->peer == peer) grants.push_back(grant);
    }
    for (const auto& [id, transfer] : live_transfers_) {
      if (transfer->peer == peer) transfers.push_back(transfer);
    }
  }
  for (const auto& grant : grants) cancel_grant(grant, why);
  for (const auto& transfer : transfers) cancel_transfer(transfer, why);
}

// A peer of which more would have to be kept than is kept of any is dropped: nobody pays without
// bound for what others send.
void ContextImpl::cut_off(PeerId peer, const std::string& what) {
  std::string who = peer_text(peer);
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    found->second.cut_off = true;
    who += " (\"" + found->second.info.name + "\" at " + found->second.info.remote_address + ")";
  }
  const Status why(StatusCode::kExhausted, "\"" + options_.name + "\" takes no more: " + what);
  logger_.warning("{} is dropped: {}", who, why.to_string());
  control_->disconnect(peer, why);
}

void ContextImpl::on_message(PeerId peer, wire::Message&& message) {
  if (const auto* request = std::get_if<wire::PathRequest>(&message)) {
    path_requested(peer, *request);
    return;
  }
  if (const auto* reply = std::get_if<wire::PathReply>(&message)) {
    path_replied(peer, *reply);
    return;
  }
  std::optional<handoff::Inbox::Room> room;
  std::string too_much;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end() || found->second.cut_off) return;
    if (const auto* fenced = std::get_if<wire::Fenced>(&message)) {
      PeerPath* path = found->second.path_with(fenced->epoch);
      if (path != nullptr) path->ended_there = true;
    }
    auto& sections = found->second.sections;
    auto& caches = found->second.caches;
    if (apply_change(sections, caches, message)) {
      if (sections.size() <= wire::kMaxSections && caches.size() <= wire::kMaxCaches) return;
      too_much = std::to_string(sections.size()) + " sections and " +
                 std::to_string(caches.size()) + " caches of the peer";
    } else {
      const handoff::Inbox& inbox = *found->second.inbox;
      room = handoff::Inbox::take(found->second.inbox, message);
      if (!room.has_value()) {
        too_much = std::to_string(inbox.messages()) + " messages of the peer (" +
                   std::to_string(inbox.bytes()) + " bytes) wait for the data path";
      }
    }
  }
  if (!too_much.empty()) {
    cut_off(peer, too_much);
    return;
  }
  pass_to_data(handoff::PeerMessage{peer, std::make_unique<wire::Message>(std::move(message)),
                                    std::move(*room)});
}

void ContextImpl::on_heartbeat_echo(PeerId peer, int64_t sent_ns) {
  bool first = false;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    first = found->second.lease_basis_ns == 0;
    found->second.lease_basis_ns = sent_ns;
    if (found->second.meters != nullptr)
      found->second.meters->heartbeat_rtt.observe(clock_.now_ns() - sent_ns);
  }
  if (!first) return;
  waker_->wake();  // Transfers that waited for their lease may start
  // From now on leases run that nobody watches yet.
  control_->set_alarm(clock_.now_ns());
}

int64_t ContextImpl::on_alarm(int64_t now_ns) {
  int64_t next_ns = flush_backlog() ? INT64_MAX : now_ns + kBacklogRetryNs;
  next_ns = std::min(next_ns, reopen_paths(now_ns));
  std::vector<std::pair<std::shared_ptr<handoff::GrantState>, Status>> grants;
  std::vector<std::pair<std::shared_ptr<handoff::TransferState>, Status>> transfers;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto over = [&](const auto& request, Status* why) {
      if (!request.life.is_active()) return false;
      const auto peer = peers_.find(request.peer);
      const int64_t basis_ns = peer == peers_.end() ? 0 : peer->second.lease_basis_ns;
      const int64_t over_ns = runs_out_ns(request, basis_ns);
      next_ns = std::min(next_ns, std::max(over_ns, now_ns + kMsNs));
      if (now_ns >= request.deadline_ns) {
        *why = Status(StatusCode::kDeadlineExceeded, request.describe() + ": its deadline passed");
      } else if (now_ns >= over_ns) {
        *why = Status(StatusCode::kDeadlineExceeded,
                      request.describe() + ": its lease ran out; the peer echoed no heartbeat");
      }
      return !why->is_ok();
    };
    Status why;
    for (const auto& [id, grant] : live_grants_) {
      why = Status::ok();
      if (over(*grant, &why)) grants.emplace_back(grant, why);
    }
    for (const auto& [id, transfer] : live_transfers_) {
      why = Status::ok();
      if (over(*transfer, &why)) transfers.emplace_back(transfer, why);
    }
  }
  for (const auto& [grant, why] : grants) cancel_grant(grant, why);
  for (const auto& [transfer, why] : transfers) cancel_transfer(transfer, why);
  return next_ns;
}

}  // namespace baton::api
