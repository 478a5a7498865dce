// The receiver's side: Grants armed, units counted, chunks permitted, and the end decided
// (docs/architecture.md, "The life of a Grant", "How things end").
#include <algorithm>

#include "src/base/assert.h"
#include "src/base/mutant.h"
#include "src/handoff/engine.h"
#include "src/handoff/pull_state.h"
#include "src/handoff/read_grant_state.h"

namespace baton::handoff {

namespace {

// How long a cancelled Grant waits for the writer's word before its Path is fenced; a Pull, for the
// source's, which fences sooner.
constexpr int64_t kQuietTimeoutNs = 500'000'000;
constexpr int64_t kSourceTimeoutNs = 1'500'000'000;

wire::GrantOffer offer_of(const GrantState& grant, int64_t now_ns) {
  wire::GrantOffer offer;
  offer.grant = grant.id;
  offer.kind = grant.is_ranges ? wire::GrantKind::kRanges : wire::GrantKind::kKv;
  offer.tag = grant.tag;
  offer.target_cache = grant.target_cache;
  offer.source_cache = grant.source_cache;
  offer.tokens = grant.tokens;
  offer.block_lists = grant.block_lists;
  offer.heads = grant.heads;
  for (uint32_t i = 0; i < grant.num_layers; ++i) {
    offer.slots.push_back({grant.layers[i].slot.value, grant.layers[i].generation});
    offer.units_per_slot.push_back(static_cast<uint32_t>(grant.layers[i].units));
  }
  offer.lease_ms = static_cast<uint32_t>(grant.lease_ns / 1'000'000);
  offer.deadline_ms =
      static_cast<uint32_t>(std::max<int64_t>(0, grant.deadline_ns - now_ns) / 1'000'000);
  for (const auto& range : grant.ranges)
    offer.ranges.push_back({range.section, range.offset_bytes, range.length_bytes});
  offer.allow_write = grant.allow_write;
  offer.allow_read = grant.allow_read;
  return offer;
}

}  // namespace

void Engine::open_grant(const std::shared_ptr<GrantState>& grant, int64_t now_ns) {
  Link* link = find_link(grant->peer);
  if (link == nullptr || !link->up || (link->had_path && !has_path(*link))) {
    end_unopened(grant, Status(StatusCode::kPeerLost, grant->describe() + ": the peer is gone"),
                 now_ns);
    return;
  }
  if (grant->pull != nullptr && !output_->offer_stands(grant->peer, grant->id)) {
    // The source ended it between the caller's check and now, and was answered.
    end_unopened(grant, Status(StatusCode::kCancelled, grant->describe() + ": the Grant has ended"),
                 now_ns);
    return;
  }
  for (uint32_t i = 0; i < grant->num_layers; ++i) {
    slot_owners_[grant->layers[i].slot.value] = SlotOwner{grant.get(), i};
    if (grant->layers[i].units > 0) ++grant->layers_left;
  }
  grants_[grant->id.value] = grant;
  link->grants.push_back(grant);
  if (grant->pull != nullptr) {
    open_pull(*link, *grant->pull);
    return;
  }
  if (grant->life.is_active()) send_or_drop(*link, offer_of(*grant, now_ns));
}

void Engine::end_unopened(const std::shared_ptr<GrantState>& grant, Status why, int64_t now_ns) {
  grant->begin_cancel(why, now_ns);
  // Another thread's begin_cancel that has just won would find the Grant ended, and leave the gates
  // to this one.
  grant->fail_gates(why, now_ns);
  grant->life.finish(std::move(why), now_ns);
  log_end(*grant, now_ns);
  output_->grant_ended(grant);
}

void Engine::on_units_arrived(uint64_t path_cookie, uint32_t immediate) {
  ++ready_layers_;
  LinkPath* path = path_of(path_cookie);
  transfer::PathChannel* channel = path == nullptr ? nullptr : path->channel.get();
  // A frozen Path's completions are dropped: what counts is what was applied when it was fenced.
  if (channel == nullptr || channel->state() != transfer::PathState::kOpen) {
    if (path != nullptr) meters_of(*path).dropped_units.add(counter::unpack(immediate).weight);
    return;
  }
  ++path->immediates;
  const counter::Applied applied =
      counters_->apply(immediate, channel->identity().peer, channel->identity().ordinal);
  // A slot is armed before its Grant is opened here, and advertised after that: an immediate that
  // finds it without an owner is a guess of the peer's.
  const SlotOwner owner =
      applied.was_counted() ? slot_owners_[applied.slot.value] : SlotOwner{nullptr, 0};
  if (owner.grant == nullptr) {
    path->broken_why =
        std::string("protocol error: an immediate for slot ") + std::to_string(applied.slot.value) +
        " (" +
        (applied.was_counted() ? "not offered yet" : counter::apply_outcome_name(applied.outcome)) +
        ")";
    path->fence_cause = FenceCause::kProtocolError;
    channel->set_state(transfer::PathState::kBroken);
    return;
  }
  GrantState& grant = *owner.grant;
  GrantState::Layer& layer = grant.layers[owner.ordinal];
  if (layer.first_ns.load(std::memory_order_relaxed) == 0) {
    layer.first_ns.store(clock_.now_ns(), std::memory_order_relaxed);
  }
  if (grant.pull != nullptr) {
    grant.pull->tokens_counted(owner.ordinal, applied.weight);
    return;
  }
  grant.units_counted.fetch_add(applied.weight, std::memory_order_relaxed);
  note_units(*path, grant, owner.ordinal, applied.weight);
  if (applied.outcome == counter::ApplyOutcome::kTargetReached) layer_counted(grant, owner.ordinal);
}

void Engine::layer_counted(GrantState& grant, uint32_t ordinal) {
  const int64_t now_ns = clock_.now_ns();
  grant.layer_arrived(ordinal, now_ns);
  if (--grant.layers_left > 0) return;
  // Units that arrive while CANCELLING count towards quiet only: the exchange below fails then.
  if (!grant.life.complete(now_ns)) return;
  grant.all->slot_done(now_ns);
}

baton_resolved Engine::on_resolve(uint64_t path_cookie, uint64_t grant_id, uint64_t region_key,
                                  uint64_t address, uint32_t length_bytes, baton_access access) {
  LinkPath* path = path_of(path_cookie);
  transfer::PathChannel* channel = path == nullptr ? nullptr : path->channel.get();
  const auto refuse_late = [&]() -> baton_resolved {
    if (path != nullptr && access == BATON_ACCESS_WRITE)
      meters_of(*path).discarded_bytes.add(length_bytes);
    return {nullptr, 1};
  };
  if (channel == nullptr || channel->state() != transfer::PathState::kOpen) return refuse_late();
  GrantState* grant = last_resolved_;
  if (grant == nullptr || grant->id.value != grant_id) {
    const auto found = grants_.find(grant_id);
    grant = found == grants_.end() ? nullptr : found->second.get();
  }
  if (grant == nullptr) {
    ReadGrantState* read = find_read_grant(*path->link, GrantId(grant_id));
    if (read != nullptr) return resolve_read(*read, region_key, address, length_bytes, access);
  }
  if (grant == nullptr || grant->peer != channel->identity().peer) {
    if (path->link->ended.count(GrantId(grant_id)) != 0) return refuse_late();
    return {nullptr, 0};
  }
  last_resolved_ = grant;
  // Its last unit came within this progress(), and its pages may be in use again. (While CANCELLING
  // it still takes bytes: the writer counts them as signalled, and its quiet waits for them.)
  if (grant->life.is_terminal()) return refuse_late();
  const bool allowed = access == BATON_ACCESS_WRITE ? grant->allow_write : grant->allow_read;
  if (!allowed) return {nullptr, 0};
  return {grant->permissions.find(static_cast<uint32_t>(region_key), address, length_bytes), 0};
}

// The source's blocks, as long as their ReadGrant is active. What was read before its end and is on
// its way was final, and the source ends when the reader has stopped, or cannot be reached.
baton_resolved Engine::resolve_read(ReadGrantState& grant, uint64_t region_key, uint64_t address,
                                    uint32_t length_bytes, baton_access access) {
  if (!grant.life.is_active()) return {nullptr, 1};
  if (access != BATON_ACCESS_READ) return {nullptr, 0};
  return {grant.permissions.find(static_cast<uint32_t>(region_key), address, length_bytes), 0};
}

// The verdict is kept until the other side has acknowledged it.
void Engine::tell_end(Link& link, const GrantState& grant, const Status& verdict) {
  if (!link.up) return;
  const uint64_t units = grant.units_counted.load(std::memory_order_relaxed);
  wire::Message& end = link.ended[grant.id];
  if (grant.pull != nullptr) {
    end = wire::ReadDone{grant.id, verdict.code(), units, verdict.message()};
  } else {
    end = wire::GrantEnd{grant.id, verdict.code(), units, verdict.message()};
  }
  send_or_drop(link, end);
  if (link.ended.size() <= Inbox::kMaxMessages) return;
  output_->drop_peer(link.peer, Status(StatusCode::kExhausted,
                                       "the peer has not acknowledged " +
                                           std::to_string(link.ended.size()) + " ended grants"));
}

void Engine::begin_grant_end(Link& link, GrantState& grant, int64_t now_ns) {
  grant.cancel_seen_ns = now_ns;
  const Status why = grant.life.status();
  send_or_drop(link, wire::Cancel{grant.id, why.code(), why.message()});
  if (grant.pull != nullptr) drop_reads(link, *grant.pull);
}

// Nothing of the Grant moves on this Path any more: it is gone, or the receiver has counted what
// the writer signalled on it before it stopped.
bool Engine::is_quiet_on(const LinkPath& path, const GrantState& grant) const {
  if (!path.is_there()) return true;
  if (grant.pull != nullptr && grant.pull->ops_on(path.ordinal) > 0) return false;
  if (!grant.quiesced) return false;
  const auto said = std::find_if(grant.quiesced_paths.begin(), grant.quiesced_paths.end(),
                                 [&](const auto& on) { return on.epoch == path.plan.epoch; });
  const bool is_said = said != grant.quiesced_paths.end();
  // Not open here yet: quiet if it was not open there.
  if (path.channel == nullptr) return !is_said;
  if (!path.is_open()) return false;
  // The writer has fenced its end: its FENCE came before QUIESCED, by the same queue, and
  // look_after_paths() has seen to it before this is asked.
  if (!is_said) return true;
  if (said->broken) return false;
  for (uint32_t i = 0; i < grant.num_layers; ++i) {
    const uint64_t signalled = i < said->signalled.size() ? said->signalled[i] : 0;
    if (counters_->applied(grant.layers[i].slot, path.ordinal) != signalled) return false;
  }
  return true;
}

bool Engine::is_quiet(const Link& link, const GrantState& grant) const {
  if (base::mutant_is(base::Mutant::kSlotFreedEarly)) return true;
  return std::all_of(link.paths.begin(), link.paths.end(),
                     [&](const LinkPath& path) { return is_quiet_on(path, grant); });
}

// Of a Grant that is not quiet in time: all the Paths that it may not be quiet on; before that,
// those that the writer calls broken.
void Engine::fence_unquiet(Link& link, const GrantState& grant, int64_t now_ns) {
  const int64_t fence_at_ns =
      grant.cancel_seen_ns + (grant.pull != nullptr ? kSourceTimeoutNs : kQuietTimeoutNs);
  want_timer(std::max(fence_at_ns, now_ns));
  for (LinkPath& path : link.paths) {
    const bool is_broken =
        std::any_of(grant.quiesced_paths.begin(), grant.quiesced_paths.end(),
                    [&](const auto& on) { return on.broken && on.epoch == path.plan.epoch; });
    if (!is_broken && now_ns < fence_at_ns) continue;
    if (is_quiet_on(path, grant)) continue;
    want_fence(path, FenceCause::kNotQuiet);
    want_timer(now_ns);
  }
}

void Engine::settle_grants(Link& link, int64_t now_ns) {
  for (size_t i = 0; i < link.grants.size();) {
    const std::shared_ptr<GrantState> grant = link.grants[i];
    if (grant->pull != nullptr) settle_pull(link, *grant->pull, now_ns);
    const State state = grant->life.state();
    if (state == State::kDone) {
      tell_end(link, *grant, Status::ok());
      finish_grant(link, grant, now_ns);
      continue;
    }
    if (state == State::kCancelling) {
      if (grant->cancel_seen_ns == 0) begin_grant_end(link, *grant, now_ns);
      if (is_quiet(link, *grant)) {
        const Status why = grant->life.status();
        tell_end(link, *grant, why);
        // Whoever began the end may not have come to the gates yet.
        grant->fail_gates(why, now_ns);
        grant->life.finish(why, now_ns);
        log_end(*grant, now_ns);
        finish_grant(link, grant, now_ns);
        continue;
      }
      fence_unquiet(link, *grant, now_ns);
    }
    note_wait(link, *grant, now_ns);
    ++i;
  }
}

void Engine::finish_grant(Link& link, const std::shared_ptr<GrantState>& grant, int64_t) {
  BATON_ASSERT(grant->life.is_terminal(), "a Grant leaves the engine when it has ended");
  for (uint32_t i = 0; i < grant->num_layers; ++i)
    slot_owners_[grant->layers[i].slot.value] = SlotOwner{};
  if (grant->pull != nullptr) finish_pull(link, *grant->pull);
  if (last_resolved_ == grant.get()) last_resolved_ = nullptr;
  grants_.erase(grant->id.value);
  const std::shared_ptr<GrantState> held = grant;  // `grant` may name the element that goes
  link.grants.erase(std::find(link.grants.begin(), link.grants.end(), held));
  output_->grant_ended(held);
}

void Engine::cancel_arrived(Link& link, const wire::Cancel& cancel, int64_t now_ns) {
  const auto found = grants_.find(cancel.grant.value);
  const Status why(cancel.code, "the peer cancelled: " + cancel.reason);
  if (found != grants_.end() && found->second->peer == link.peer) {  // the writer cancels
    found->second->begin_cancel(why, now_ns);
    return;
  }
  const auto tombstone = link.ended.find(cancel.grant);
  if (tombstone != link.ended.end()) {
    send_or_drop(link, tombstone->second);
    return;
  }
  if (output_->read_offer_stands(link.peer, cancel.grant)) {  // of which there is no Pull
    output_->offer_ended(link.peer, cancel.grant);
    send_or_drop(link, wire::ReadDone{cancel.grant, why.code(), 0, why.message()});
    return;
  }
  // The receiver cancels: this process is the writer.
  output_->offer_ended(link.peer, cancel.grant);
  bool is_answered = false;
  for (const auto& transfer : link.transfers) {
    if (transfer->grant != cancel.grant) continue;
    transfer->life.begin_cancel(why);
    transfer->cancel_from_peer = true;
    is_answered = is_answered || transfer->kind == TransferKind::kPush ||
                  transfer->kind == TransferKind::kReadGrant;
  }
  const auto owed = link.quiesce_owed.begin();
  const auto owed_end = link.quiesce_owed.end();
  if (!is_answered && std::find(owed, owed_end, cancel.grant) == owed_end)
    link.quiesce_owed.push_back(cancel.grant);
}

void Engine::quiesced_arrived(Link& link, const wire::Quiesced& quiesced, int64_t now_ns) {
  const auto found = grants_.find(quiesced.grant.value);
  if (found == grants_.end() || found->second->peer != link.peer) return;  // ended meanwhile
  GrantState& grant = *found->second;
  bool other_path = false;
  for (const auto& on : quiesced.paths) {
    const auto of_same = [&](const auto& one) { return one.epoch == on.epoch; };
    // One that was refused here, or is over here, may still be on its way to its end there.
    other_path = other_path || (path_with(link, on.epoch) == nullptr && !on.broken) ||
                 std::count_if(quiesced.paths.begin(), quiesced.paths.end(), of_same) > 1;
  }
  if (other_path) {
    output_->drop_peer(link.peer,
                       Status(StatusCode::kProtocolError,
                              grant.describe() + ": Quiesced of a Path that there is not"));
    return;
  }
  if (grant.life.is_active()) {
    grant.begin_cancel(Status(StatusCode::kCancelled, "the writer stopped without a cause"),
                       now_ns);
  }
  grant.quiesced = true;
  grant.quiesced_paths = quiesced.paths;
}

}  // namespace baton::handoff
