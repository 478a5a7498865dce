// Pulled hand-offs: what a source checks before it offers its blocks to a reader, and a reader
// before it reads them.
#include <algorithm>
#include <numeric>

#include "src/api/context_impl.h"
#include "src/api/lease.h"
#include "src/api/permitted_ranges.h"
#include "src/handoff/pull_state.h"
#include "src/handoff/read_grant_state.h"
#include "src/kv/plan.h"

namespace baton::api {

namespace {

constexpr int64_t kMsNs = 1'000'000;

std::string grant_text(GrantId grant) { return "grant " + std::to_string(grant.value); }

Status check_blocks(size_t blocks) {
  if (blocks <= wire::kMaxBlocks) return Status::ok();
  return Status(StatusCode::kOutOfRange, "the grant names " + std::to_string(blocks) +
                                             " blocks: at most " +
                                             std::to_string(wire::kMaxBlocks));
}

// Any blocks of the reader's cache. The source does not know which ones the reader will choose, and
// need not: the cut into units, and what they are made of, does not depend on that.
Result<std::vector<std::vector<uint32_t>>> some_blocks(const Layout& layout, TokenRange tokens) {
  Status valid = validate(layout);
  if (!valid.is_ok()) return Status(valid.code(), "target layout: " + valid.message());
  std::vector<std::vector<uint32_t>> lists(layout.groups.size());
  if (tokens.is_empty()) return lists;  // for the Plan to say
  size_t blocks = 0;
  for (size_t g = 0; g < lists.size(); ++g) {
    const uint32_t needed = blocks_of_group(layout.groups[g], tokens);
    if (needed > layout.groups[g].num_blocks) {
      return Status(StatusCode::kOutOfRange, "the tokens touch " + std::to_string(needed) +
                                                 " blocks of group " + std::to_string(g) +
                                                 " of the reader's cache, which has " +
                                                 std::to_string(layout.groups[g].num_blocks));
    }
    blocks += needed;
    BATON_RETURN_IF_ERROR(check_blocks(blocks));
    lists[g].resize(needed);
    std::iota(lists[g].begin(), lists[g].end(), 0u);
  }
  return lists;
}

// By layer ordinal: the tokens that its group hands over.
std::vector<TokenRange> tokens_of_layers(const Layout& layout, TokenRange tokens) {
  std::vector<TokenRange> out;
  for (const LayerGroup& group : layout.groups)
    out.insert(out.end(), group.layers.size(), tokens_of_group(group, tokens));
  return out;
}

}  // namespace

Status ContextImpl::check_reads(const PeerEntry& peer, const char* instead) const {
  if (rail_reads_[peer.local_rail.value]) return Status::ok();
  return Status(StatusCode::kUnavailable,
                "the plug-in \"" + options_.rails[peer.local_rail.value].plugin +
                    "\" of the path to peer " + peer.info.name + " has no reads; " + instead);
}

// ---- the source

Result<ReadGrant> ContextImpl::offer_read(const ReadGrantRequest& request) {
  auto peer = ready_peer(request.peer);
  if (!peer.is_ok()) return peer.status();
  auto terms = grant_terms(request.tag, request.deadline_ms, request.lease_ms);
  if (!terms.is_ok()) return terms.status();
  auto grant = std::make_shared<handoff::ReadGrantState>();
  grant->grant = terms->id;
  grant->peer = request.peer;
  grant->tag = request.tag;
  grant->clock = &clock_;
  grant->submitted_ns = terms->granted_ns;
  grant->deadline_ns = terms->deadline_ns;
  grant->lease_ns = terms->lease_ns;
  Status filled = fill_read_grant(*grant, request, *peer);
  if (!filled.is_ok()) return filled;
  auto alarm_ns = enter_read_grant(grant);
  if (!alarm_ns.is_ok()) return alarm_ns.status();
  control_->set_alarm(*alarm_ns);
  return ReadGrant(shared_from_this(), std::move(grant));
}

Status ContextImpl::fill_read_grant(handoff::ReadGrantState& grant, const ReadGrantRequest& request,
                                    const PeerEntry& peer) {
  BATON_RETURN_IF_ERROR(check_reads(peer, "the peer can be pushed to instead"));
  auto source = local_layout(request.cache);
  if (!source.is_ok()) return source.status();
  auto target = find_cache(request.peer, peer, request.target_cache);
  if (!target.is_ok()) return target.status();
  size_t blocks = 0;
  for (const auto& list : request.block_lists) blocks += list.size();
  BATON_RETURN_IF_ERROR(check_blocks(blocks));
  auto target_blocks = some_blocks((*target)->layout, request.tokens);
  if (!target_blocks.is_ok()) return target_blocks.status();
  kv::PlanRequest plan_request;
  plan_request.source = source->get();
  plan_request.target = &(*target)->layout;
  plan_request.source_blocks = std::span(request.block_lists);
  plan_request.target_blocks = *target_blocks;
  plan_request.tokens = request.tokens;
  plan_request.unit_bytes = peer.info.unit_bytes;
  auto plan = kv::Plan::create(plan_request);
  if (!plan.is_ok()) return plan.status();
  grant.target_cache = (*target)->id;
  grant.source_cache = request.cache;
  grant.block_lists = request.block_lists;
  grant.tokens = request.tokens;
  grant.next_token = request.tokens.begin;
  grant.num_layers = plan->num_layers();
  grant.layers = std::make_unique<handoff::TransferState::LayerSent[]>(grant.num_layers);
  grant.told = std::make_unique<handoff::ReadGrantState::Layer[]>(grant.num_layers);
  const std::vector<TokenRange> tokens = tokens_of_layers(**source, request.tokens);
  for (uint32_t layer = 0; layer < grant.num_layers; ++layer) {
    grant.layers[layer].units = plan->units_of_layer(layer);
    grant.layers[layer].bytes = plan->bytes_of_layer(layer);
    grant.told[layer].tokens = tokens[layer];
  }
  BATON_RETURN_IF_ERROR(permit_sources(grant, *plan));
  grant.plan = std::make_unique<kv::Plan>(std::move(plan).value());
  return Status::ok();
}

// The reader may read what the units are made of, and nothing beside it.
Status ContextImpl::permit_sources(handoff::ReadGrantState& grant, const kv::Plan& plan) {
  PermittedRanges ranges(sections_, grant.permissions, grant.uses);
  kv::Unit unit;
  for (uint32_t layer = 0; layer < plan.num_layers(); ++layer) {
    auto cursor = plan.cursor(layer, grant.tokens);
    while (cursor.next(unit)) {
      for (uint32_t i = 0; i < unit.num_sources; ++i) {
        const kv::SourceRange& from = unit.sources[i];
        BATON_RETURN_IF_ERROR(ranges.add(from.section, from.offset_bytes, from.length_bytes));
      }
    }
  }
  ranges.seal();
  return Status::ok();
}

Result<int64_t> ContextImpl::enter_read_grant(
    const std::shared_ptr<handoff::ReadGrantState>& grant) {
  // One step, as in enter_grant().
  const std::lock_guard<std::mutex> lock(state_mutex_);
  BATON_RETURN_IF_ERROR(check_room(1, live_transfers_.size(), "Transfers and ReadGrants"));
  BATON_RETURN_IF_ERROR(check_uses(grant->uses));
  const auto peer = peers_.find(grant->peer);
  if (peer == peers_.end() || peer->second.phase != PeerPhase::kReady)
    return Status(StatusCode::kPeerLost, grant->describe() + ": the peer is gone");
  grant->id = TransferId(last_transfer_ + 1);
  grant->meters = peer->second.meters;
  BATON_RETURN_IF_ERROR(submit_offer(peer->second, grant->peer, grant->grant, offer_bytes(*grant),
                                     handoff::OpenTransfer{grant}));
  grant->meters->of(grant->request_kind()).started.add();
  ++last_transfer_;
  live_transfers_[grant->id] = grant;
  return runs_out_ns(*grant, peer->second.lease_basis_ns);
}

// ---- the reader

Result<Pull> ContextImpl::pull(const PullRequest& request) {
  auto offer = find_offer(request.grant);
  if (!offer.is_ok()) return offer.status();
  auto peer = ready_peer(offer->peer);
  if (!peer.is_ok()) return peer.status();
  if (offer->message.kind != wire::GrantKind::kKvRead) {
    return Status(StatusCode::kInvalidArgument,
                  grant_text(request.grant) + " is not to be read: use push(), write() or read()");
  }
  if (offer->taken) {
    return Status(StatusCode::kFailedPrecondition,
                  grant_text(request.grant) + " has its Pull already");
  }
  auto pull = std::make_shared<handoff::PullState>();
  pull->id = request.grant;
  pull->peer = offer->peer;
  pull->tag = offer->message.tag;
  pull->counters = counters_.get();
  pull->granted_ns = clock_.now_ns();
  // What is left of the Grant's, as of a Transfer.
  pull->deadline_ns = offer->arrived_ns + int64_t{offer->message.deadline_ms} * kMsNs;
  if (request.deadline_ms != 0) {
    pull->deadline_ns =
        std::min(pull->deadline_ns, pull->granted_ns + int64_t{request.deadline_ms} * kMsNs);
  }
  pull->lease_ns = int64_t{offer->message.lease_ms} * kMsNs;
  Status filled = fill_pull(*pull, request, *offer, *peer);
  auto alarm_ns = filled.is_ok() ? enter_pull(pull) : Result<int64_t>(filled);
  if (!alarm_ns.is_ok()) {
    pull->give_back();
    return alarm_ns.status();
  }
  control_->set_alarm(*alarm_ns);
  return Pull(shared_from_this(), std::move(pull));
}

Status ContextImpl::fill_pull(handoff::PullState& pull, const PullRequest& request,
                              const Offer& offer, const PeerEntry& peer) {
  BATON_RETURN_IF_ERROR(check_reads(peer, "the peer can push instead"));
  if (request.cache != offer.message.target_cache) {
    return Status(StatusCode::kMismatch, "the Grant names local cache " +
                                             std::to_string(offer.message.target_cache.value) +
                                             ", the request cache " +
                                             std::to_string(request.cache.value));
  }
  auto target = local_layout(request.cache);
  if (!target.is_ok()) return target.status();
  const auto source = peer.caches.find(offer.message.source_cache);
  if (source == peer.caches.end()) {
    return Status(StatusCode::kNotFound,
                  "cache " + std::to_string(offer.message.source_cache.value) + " of peer " +
                      peer.info.name + " is not published there (any more)");
  }
  kv::PlanRequest plan_request;
  plan_request.source = &source->second.layout;
  plan_request.target = target->get();
  plan_request.source_blocks = std::span(offer.message.block_lists);
  plan_request.target_blocks = request.block_lists;
  plan_request.tokens = offer.message.tokens;
  plan_request.unit_bytes = peer.info.unit_bytes;
  auto plan = kv::Plan::create(plan_request);
  if (!plan.is_ok()) return plan.status();
  BATON_RETURN_IF_ERROR(check_counts(*plan, offer.message.units_per_slot));
  pull.target_cache = request.cache;
  pull.source_cache = source->first;
  pull.tokens = offer.message.tokens;
  pull.block_lists = request.block_lists;
  pull.allow_write = false;
  pull.total_units = plan->total_units();
  pull.total_bytes = plan->total_bytes();
  pull.plan = std::make_unique<kv::Plan>(std::move(plan).value());
  BATON_RETURN_IF_ERROR(hold_pull(pull, **target, source->second.layout, peer));
  return arm_pull(pull, tokens_of_layers(**target, pull.tokens));
}

// Both sides know the same number of units before the first byte.
Status ContextImpl::check_counts(const kv::Plan& plan, const std::vector<uint32_t>& offered) {
  if (offered.size() != plan.num_layers()) {
    return Status(StatusCode::kMismatch, "the source counts " + std::to_string(offered.size()) +
                                             " layers, this side " +
                                             std::to_string(plan.num_layers()));
  }
  for (uint32_t layer = 0; layer < plan.num_layers(); ++layer) {
    const uint64_t units = plan.units_of_layer(layer);
    if (offered[layer] == units) continue;
    return Status(StatusCode::kMismatch, "layer " + std::to_string(layer) + ": the source offers " +
                                             std::to_string(offered[layer]) +
                                             " units, this side's plan has " +
                                             std::to_string(units));
  }
  return Status::ok();
}

Status ContextImpl::hold_pull(handoff::PullState& pull, const Layout& target, const Layout& source,
                              const PeerEntry& peer) {
  handoff::TransferState held;
  for (const LayerGroup& group : target.groups) {
    for (const TensorPlace& place : group.places)
      BATON_RETURN_IF_ERROR(hold_local(held, place.section));
  }
  for (const LayerGroup& group : source.groups) {
    for (const TensorPlace& place : group.places) {
      const uint64_t end_bytes = place.offset_bytes + tensor_span_bytes(group, place);
      BATON_RETURN_IF_ERROR(hold_remote(held, place.section, end_bytes, peer));
    }
  }
  pull.local = std::move(held.local);
  pull.remote = std::move(held.remote);
  pull.uses = std::move(held.uses);
  return Status::ok();
}

Status ContextImpl::arm_pull(handoff::PullState& pull, const std::vector<TokenRange>& tokens) {
  const uint32_t num_layers = pull.plan->num_layers();
  auto slots = counters_->allocate(num_layers);
  if (!slots.is_ok()) return slots.status();
  pull.slots = std::move(slots).value();
  pull.num_layers = num_layers;
  pull.layers = std::make_unique<handoff::GrantState::Layer[]>(num_layers);
  pull.reads = std::make_unique<handoff::PullState::Reads[]>(num_layers);
  pull.whole.reserve(num_layers);
  pull.all = std::make_shared<counter::GateState>(1, pull.granted_ns);
  uint32_t ordinal = 0;
  for (const counter::SlotExtent& extent : pull.slots.extents) {
    for (uint32_t i = 0; i < extent.count; ++i, ++ordinal) {
      handoff::GrantState::Layer& layer = pull.layers[ordinal];
      layer.slot = counter::SlotIndex(extent.first.value + i);
      layer.units = pull.plan->units_of_layer(ordinal);
      layer.bytes = pull.plan->bytes_of_layer(ordinal);
      layer.gate = std::make_shared<counter::GateState>(1, pull.granted_ns);
      layer.generation = counters_->generation(layer.slot);
      handoff::PullState::Reads& reads = pull.reads[ordinal];
      reads.owner = &pull;
      reads.ordinal = ordinal;
      reads.tokens = tokens[ordinal];
      reads.bytes = pull.plan->bytes_of_layer(ordinal);
      counters_->arm(layer.slot, pull.peer, reads.num_tokens());
    }
  }
  return Status::ok();
}

Result<int64_t> ContextImpl::enter_pull(const std::shared_ptr<handoff::PullState>& pull) {
  // One step, as in enter_grant(). With the peer its offers go.
  const std::lock_guard<std::mutex> lock(state_mutex_);
  BATON_RETURN_IF_ERROR(check_room(1, live_grants_.size(), "Grants and Pulls"));
  BATON_RETURN_IF_ERROR(check_uses(pull->uses));
  const auto offer = offers_.find(pull->id);
  if (offer == offers_.end())
    return Status(StatusCode::kCancelled, grant_text(pull->id) + " ended meanwhile");
  // The second: a peer that gives its offer the id of a Grant of ours has itself to blame.
  if (offer->second.taken || live_grants_.count(pull->id) != 0) {
    return Status(StatusCode::kFailedPrecondition, grant_text(pull->id) + " has its Pull already");
  }
  pull->transfer = TransferId(last_transfer_ + 1);
  const auto peer = peers_.find(pull->peer);
  if (peer != peers_.end()) pull->meters = peer->second.meters;
  BATON_RETURN_IF_ERROR(engine_->submit(handoff::OpenGrant{pull}));
  if (pull->meters != nullptr) pull->meters->of(pull->request_kind()).started.add();
  ++last_transfer_;
  live_grants_[pull->id] = pull;
  offer->second.taken = true;
  return runs_out_ns(*pull, peer == peers_.end() ? 0 : peer->second.lease_basis_ns);
}

}  // namespace baton::api
