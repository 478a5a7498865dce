// Grants: what a receiver checks, counts and arms before its permission leaves the process.
#include <algorithm>

#include "src/api/context_impl.h"
#include "src/api/lease.h"
#include "src/api/permitted_ranges.h"
#include "src/base/assert.h"
#include "src/base/checked_math.h"
#include "src/handoff/pull_state.h"
#include "src/kv/plan.h"

namespace baton::api {

namespace {

constexpr int64_t kMsNs = 1'000'000;

Status check_times(const ContextOptions& options, uint32_t deadline_ms, uint32_t lease_ms) {
  constexpr uint32_t kMaxMs = wire::kMaxLeaseMs;
  if (deadline_ms > kMaxMs || lease_ms > kMaxMs) {
    const bool is_deadline = deadline_ms > kMaxMs;
    return Status(StatusCode::kInvalidArgument,
                  std::string(is_deadline ? "deadline_ms" : "lease_ms") + " is " +
                      std::to_string(is_deadline ? deadline_ms : lease_ms) + ": at most " +
                      std::to_string(kMaxMs) + ", a day");
  }
  if (lease_ms / 2 <= options.heartbeat_interval_ms) {
    return Status(StatusCode::kInvalidArgument, "lease_ms is " + std::to_string(lease_ms) +
                                                    ": must be more than two heartbeats of " +
                                                    std::to_string(options.heartbeat_interval_ms) +
                                                    " ms");
  }
  return Status::ok();
}

}  // namespace

Status ContextImpl::check_open() const {
  if (!closing_.load(std::memory_order_acquire)) return Status::ok();
  return Status(StatusCode::kFailedPrecondition, "the Context is closed");
}

Status ContextImpl::check_room(size_t more, size_t live, std::string_view what) const {
  BATON_RETURN_IF_ERROR(check_open());
  if (more > options_.max_live) {
    return Status(StatusCode::kInvalidArgument,
                  std::to_string(more) + " " + std::string(what) + " at once: at most " +
                      std::to_string(options_.max_live) + " live (ContextOptions::max_live)");
  }
  if (live + more <= options_.max_live) return Status::ok();
  return Status(StatusCode::kBusy, std::to_string(live) + " " + std::string(what) +
                                       " are alive, and " + std::to_string(more) +
                                       " more would be more than " +
                                       std::to_string(options_.max_live) +
                                       " (ContextOptions::max_live): retry when some have ended");
}

Status ContextImpl::check_uses(const std::vector<section::SectionUse>& uses) {
  for (const auto& use : uses) {
    if (use->is_withdrawn())
      return Status(StatusCode::kFailedPrecondition, use->describe() + " is withdrawn");
  }
  return Status::ok();
}

Result<ContextImpl::GrantTerms> ContextImpl::grant_terms(const std::string& tag,
                                                         uint32_t deadline_ms,
                                                         uint32_t lease_ms) const {
  if (tag.size() > wire::kMaxTagBytes) {
    return Status(StatusCode::kInvalidArgument,
                  "the tag has " + std::to_string(tag.size()) + " bytes: at most 4096");
  }
  const uint32_t lease = lease_ms == 0 ? options_.default_lease_ms : lease_ms;
  const uint32_t deadline = deadline_ms == 0 ? options_.default_deadline_ms : deadline_ms;
  Status times = check_times(options_, deadline, lease);
  if (!times.is_ok()) return times;
  GrantTerms terms;
  terms.granted_ns = clock_.now_ns();
  terms.deadline_ns = terms.granted_ns + int64_t{deadline} * kMsNs;
  terms.lease_ns = int64_t{lease} * kMsNs;
  // Nobody can tell the next one: a peer that offered it first would be in the way of the real
  // offer.
  while (!terms.id) terms.id = GrantId(environment_.random());
  return terms;
}

Result<std::shared_ptr<handoff::GrantState>> ContextImpl::new_grant(PeerId peer,
                                                                    const std::string& tag,
                                                                    uint32_t deadline_ms,
                                                                    uint32_t lease_ms) {
  auto terms = grant_terms(tag, deadline_ms, lease_ms);
  if (!terms.is_ok()) return terms.status();
  auto grant = std::make_shared<handoff::GrantState>();
  grant->id = terms->id;
  grant->peer = peer;
  grant->tag = tag;
  grant->counters = counters_.get();
  grant->granted_ns = terms->granted_ns;
  grant->deadline_ns = terms->deadline_ns;
  grant->lease_ns = terms->lease_ns;
  const std::lock_guard<std::mutex> lock(state_mutex_);
  Status room = check_room(1, live_grants_.size(), "Grants");
  if (!room.is_ok()) return room;
  return grant;
}

Result<Grant> ContextImpl::grant(const GrantRequest& request) {
  auto peer = ready_peer(request.peer);
  if (!peer.is_ok()) return peer.status();
  auto created = new_grant(request.peer, request.tag, request.deadline_ms, request.lease_ms);
  if (!created.is_ok()) return created.status();
  std::shared_ptr<handoff::GrantState> grant = std::move(created).value();
  Status filled = fill_kv_grant(*grant, request, *peer);
  if (!filled.is_ok()) return filled;
  return open_grant(std::move(grant));
}

Result<const wire::CacheDescription*> ContextImpl::find_cache(PeerId id, const PeerEntry& peer,
                                                              const std::string& name) {
  const auto source = std::find_if(peer.caches.begin(), peer.caches.end(),
                                   [&](const auto& cache) { return cache.second.name == name; });
  if (source != peer.caches.end()) return &source->second;
  return Status(StatusCode::kNotFound, "peer " + std::to_string(id.value) + " (" + peer.info.name +
                                           ") publishes no cache \"" + name + "\"");
}

Status ContextImpl::fill_kv_grant(handoff::GrantState& grant, const GrantRequest& request,
                                  const PeerEntry& peer) {
  auto layout = local_layout(request.cache);
  if (!layout.is_ok()) return layout.status();
  auto source = find_cache(request.peer, peer, request.source_cache);
  if (!source.is_ok()) return source.status();
  size_t blocks = 0;
  for (const auto& list : request.block_lists) blocks += list.size();
  if (blocks > wire::kMaxBlocks) {
    return Status(StatusCode::kOutOfRange, "the grant names " + std::to_string(blocks) +
                                               " blocks: at most " +
                                               std::to_string(wire::kMaxBlocks));
  }
  kv::PlanRequest plan_request;
  plan_request.source = &(*source)->layout;
  plan_request.target = layout->get();
  plan_request.target_blocks = request.block_lists;
  plan_request.heads = request.heads;
  plan_request.tokens = request.tokens;
  plan_request.unit_bytes = peer.info.unit_bytes;
  auto plan = kv::Plan::create(plan_request);
  if (!plan.is_ok()) return plan.status();
  grant.target_cache = request.cache;
  grant.source_cache = (*source)->id;
  grant.tokens = request.tokens;
  grant.heads = request.heads;
  grant.block_lists = request.block_lists;
  grant.total_units = plan->total_units();
  grant.total_bytes = plan->total_bytes();
  BATON_RETURN_IF_ERROR(permit_units(grant, *plan));
  return arm_layers(grant, *plan);
}

Status ContextImpl::permit_units(handoff::GrantState& grant, const kv::Plan& plan) {
  PermittedRanges ranges(sections_, grant.permissions, grant.uses);
  kv::Unit unit;
  for (uint32_t layer = 0; layer < plan.num_layers(); ++layer) {
    auto cursor = plan.cursor(layer, grant.tokens);
    while (cursor.next(unit)) {
      BATON_RETURN_IF_ERROR(
          ranges.add(unit.target_section, unit.target_offset_bytes, unit.length_bytes));
    }
  }
  ranges.seal();
  return Status::ok();
}

Status ContextImpl::arm_layers(handoff::GrantState& grant, const kv::Plan& plan) {
  auto slots = counters_->allocate(plan.num_layers());
  if (!slots.is_ok()) return slots.status();
  grant.slots = std::move(slots).value();
  grant.num_layers = plan.num_layers();
  grant.layers = std::make_unique<handoff::GrantState::Layer[]>(grant.num_layers);
  grant.all = std::make_shared<counter::GateState>(1, grant.granted_ns);
  uint32_t ordinal = 0;
  for (const counter::SlotExtent& extent : grant.slots.extents) {
    for (uint32_t i = 0; i < extent.count; ++i, ++ordinal) {
      handoff::GrantState::Layer& layer = grant.layers[ordinal];
      layer.slot = counter::SlotIndex(extent.first.value + i);
      layer.units = plan.units_of_layer(ordinal);
      layer.bytes = plan.bytes_of_layer(ordinal);
      // A layer without units (a window that holds none of these tokens) has nothing to wait for.
      layer.gate = std::make_shared<counter::GateState>(layer.units > 0 ? 1 : 0, grant.granted_ns);
      layer.generation = counters_->generation(layer.slot);
      counters_->arm(layer.slot, grant.peer, layer.units);
    }
  }
  return Status::ok();
}

Result<Grant> ContextImpl::grant_ranges(const RangeGrantRequest& request) {
  auto peer = ready_peer(request.peer);
  if (!peer.is_ok()) return peer.status();
  if (request.ranges.empty())
    return Status(StatusCode::kInvalidArgument, "a range grant without ranges");
  if (request.ranges.size() > wire::kMaxRanges) {
    return Status(StatusCode::kInvalidArgument, std::to_string(request.ranges.size()) +
                                                    " ranges: at most " +
                                                    std::to_string(wire::kMaxRanges));
  }
  if (!request.allow_read && !request.allow_write) {
    return Status(StatusCode::kInvalidArgument,
                  "a range grant that allows neither reads nor writes");
  }
  auto created = new_grant(request.peer, request.tag, request.deadline_ms, request.lease_ms);
  if (!created.is_ok()) return created.status();
  std::shared_ptr<handoff::GrantState> grant = std::move(created).value();
  grant->is_ranges = true;
  grant->allow_read = request.allow_read;
  grant->allow_write = request.allow_write;
  for (size_t i = 0; i < request.ranges.size(); ++i) {
    const auto& range = request.ranges[i];
    const std::string who = "range " + std::to_string(i) + " of the grant";
    if (range.length_bytes == 0) return Status(StatusCode::kInvalidArgument, who + " has length 0");
    Status inside =
        sections_.check_range({range.section, range.offset_bytes, range.length_bytes}, who);
    if (!inside.is_ok()) return inside;
    auto use = sections_.acquire(range.section);
    if (!use.is_ok()) return use.status();
    grant->permissions.add({range.section.value, range.offset_bytes,
                            range.offset_bytes + range.length_bytes,
                            static_cast<uint8_t*>((*use)->address())});
    grant->uses.push_back(std::move(use).value());
    grant->ranges.push_back({range.section, range.offset_bytes, range.length_bytes});
    grant->total_bytes += range.length_bytes;
  }
  grant->permissions.seal();
  grant->all = std::make_shared<counter::GateState>(1, grant->granted_ns);
  return open_grant(std::move(grant));
}

Result<Grant> ContextImpl::open_grant(std::shared_ptr<handoff::GrantState> grant) {
  auto alarm_ns = enter_grant(grant);
  if (!alarm_ns.is_ok()) {
    grant->give_back();
    return alarm_ns.status();
  }
  control_->set_alarm(*alarm_ns);
  return Grant(shared_from_this(), std::move(grant));
}

Result<int64_t> ContextImpl::enter_grant(const std::shared_ptr<handoff::GrantState>& grant) {
  // One step: from now on the end of the peer, of a Section and of the Context find the Grant, or
  // it finds them here.
  const std::lock_guard<std::mutex> lock(state_mutex_);
  BATON_RETURN_IF_ERROR(check_room(1, live_grants_.size(), "Grants"));
  BATON_RETURN_IF_ERROR(check_uses(grant->uses));
  const auto peer = peers_.find(grant->peer);
  if (peer == peers_.end() || peer->second.phase != PeerPhase::kReady)
    return Status(StatusCode::kPeerLost, grant->describe() + ": the peer is gone");
  grant->meters = peer->second.meters;
  BATON_RETURN_IF_ERROR(submit_offer(peer->second, grant->peer, grant->id, offer_bytes(*grant),
                                     handoff::OpenGrant{grant}));
  grant->meters->of(grant->request_kind()).started.add();
  live_grants_[grant->id] = grant;
  return runs_out_ns(*grant, peer->second.lease_basis_ns);
}

void ContextImpl::cancel_grant(const std::shared_ptr<handoff::GrantState>& grant, Status why) {
  if (grant->begin_cancel(std::move(why), clock_.now_ns())) engine_->queue_cancel(grant);
}

void ContextImpl::grant_ended(const std::shared_ptr<handoff::GrantState>& grant) {
  count_end(*grant);
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    live_grants_.erase(grant->id);
    end_offer(grant->peer, grant->id);
  }
  // close_section() looks at the uses of live Grants only, so nobody reads them meanwhile.
  grant->give_back();
  Event event;
  // A Pull answers a Grant, as a Transfer does.
  event.kind = grant->pull != nullptr ? EventKind::kTransferEnded : EventKind::kGrantEnded;
  if (grant->pull != nullptr) event.transfer = grant->pull->transfer;
  event.peer = grant->peer;
  event.grant = grant->id;
  event.tag = grant->tag;
  event.status = grant->life.status();
  if (grant->group != nullptr) event.group = grant->group->id;
  emit(std::move(event));
  if (grant->group != nullptr) member_ended(*grant);
  state_changed_.notify_all();
}

}  // namespace baton::api
