// Transfers: what a sender checks before a request reaches the data thread.
#include <algorithm>

#include "src/api/context_impl.h"
#include "src/api/lease.h"
#include "src/base/assert.h"
#include "src/kv/plan.h"

namespace baton::api {

namespace {

constexpr int64_t kMsNs = 1'000'000;

Status ended(const handoff::TransferState& transfer) {
  return Status(StatusCode::kCancelled, transfer.describe() + " has ended or is ending: " +
                                            transfer.life.status().to_string());
}

std::string range_text(uint64_t offset, uint64_t length) {
  return "[" + std::to_string(offset) + ", " + std::to_string(offset) + " + " +
         std::to_string(length) + ")";
}

}  // namespace

std::shared_ptr<handoff::TransferState> ContextImpl::new_transfer(const Offer& offer,
                                                                  handoff::TransferKind kind,
                                                                  uint32_t deadline_ms) {
  auto transfer = std::make_shared<handoff::TransferState>();
  transfer->peer = offer.peer;
  transfer->grant = offer.message.grant;
  transfer->tag = offer.message.tag;
  transfer->kind = kind;
  transfer->clock = &clock_;
  transfer->submitted_ns = clock_.now_ns();
  // What is left of the Grant's, as it was when the offer arrived: a Transfer does not outlive its
  // permission.
  transfer->deadline_ns = offer.arrived_ns + int64_t{offer.message.deadline_ms} * kMsNs;
  if (deadline_ms != 0) {
    transfer->deadline_ns =
        std::min(transfer->deadline_ns, transfer->submitted_ns + int64_t{deadline_ms} * kMsNs);
  }
  transfer->lease_ns = int64_t{offer.message.lease_ms} * kMsNs;
  return transfer;
}

Status ContextImpl::hold_local(handoff::TransferState& transfer, SectionId section) {
  const auto same = [section](const auto& local) { return local.id == section.value; };
  if (std::any_of(transfer.local.begin(), transfer.local.end(), same)) return Status::ok();
  auto use = sections_.acquire(section);
  if (!use.is_ok()) return use.status();
  std::vector<baton_region*> regions;
  for (size_t rail = 0; rail < rail_reads_.size(); ++rail) {
    const section::RailKey* key = (*use)->find_rail_key(RailIndex(static_cast<uint16_t>(rail)));
    BATON_ASSERT(key != nullptr, "an open section is registered on every rail");
    regions.push_back(key->region);
  }
  transfer.local.push_back({section.value, static_cast<uint8_t*>((*use)->address()),
                            (*use)->length_bytes(), std::move(regions)});
  transfer.uses.push_back(std::move(use).value());
  return Status::ok();
}

Status ContextImpl::hold_remote(handoff::TransferState& transfer, SectionId section,
                                uint64_t end_bytes, const PeerEntry& peer) const {
  const auto check_end = [&](uint64_t length_bytes) {
    if (end_bytes <= length_bytes) return Status::ok();
    return Status(StatusCode::kOutOfRange, "byte " + std::to_string(end_bytes - 1) +
                                               " of section " + std::to_string(section.value) +
                                               " of peer " + peer.info.name + ", which has " +
                                               std::to_string(length_bytes) + " bytes");
  };
  for (const auto& held : transfer.remote) {
    if (held.id == section.value) return check_end(held.length_bytes);
  }
  const auto described = peer.sections.find(section);
  if (described != peer.sections.end()) {
    const uint64_t length_bytes = described->second.length_bytes;
    handoff::TransferState::RemoteSection remote;
    remote.id = section.value;
    remote.length_bytes = length_bytes;
    for (const auto& key : described->second.keys)
      remote.keys.push_back({key.rail, {key.key, key.base}});
    if (remote.on(peer.remote_rail) != nullptr) {
      transfer.remote.push_back(std::move(remote));
      return check_end(length_bytes);
    }
  }
  return Status(StatusCode::kNotFound, "section " + std::to_string(section.value) + " of peer " +
                                           peer.info.name +
                                           " is not registered there (any more) on rail " +
                                           std::to_string(peer.remote_rail.value));
}

Result<Transfer> ContextImpl::push(const PushRequest& request) {
  auto offer = find_offer(request.grant);
  if (!offer.is_ok()) return offer.status();
  auto peer = ready_peer(offer->peer);
  if (!peer.is_ok()) return peer.status();
  if (offer->message.kind != wire::GrantKind::kKv) {
    const bool is_read = offer->message.kind == wire::GrantKind::kKvRead;
    return Status(
        StatusCode::kInvalidArgument,
        "grant " + std::to_string(request.grant.value) +
            (is_read ? " is to be read: use pull()" : " opens byte ranges: use write() or read()"));
  }
  if (offer->taken) {
    return Status(StatusCode::kFailedPrecondition,
                  "grant " + std::to_string(request.grant.value) +
                      " has its Transfer already: chunks are appended to that one");
  }
  auto transfer = new_transfer(*offer, handoff::TransferKind::kPush, request.deadline_ms);
  Status filled = fill_push(*transfer, request, *offer, *peer);
  if (!filled.is_ok()) return filled;
  return open_transfer(std::move(transfer), true);
}

Status ContextImpl::fill_push(handoff::TransferState& transfer, const PushRequest& request,
                              const Offer& offer, const PeerEntry& peer) {
  if (request.cache != offer.message.source_cache) {
    return Status(StatusCode::kMismatch, "the Grant names local cache " +
                                             std::to_string(offer.message.source_cache.value) +
                                             ", the request cache " +
                                             std::to_string(request.cache.value));
  }
  auto source = local_layout(request.cache);
  if (!source.is_ok()) return source.status();
  const auto target = peer.caches.find(offer.message.target_cache);
  if (target == peer.caches.end()) {
    return Status(StatusCode::kNotFound,
                  "cache " + std::to_string(offer.message.target_cache.value) + " of peer " +
                      peer.info.name + " is not published there (any more)");
  }
  kv::PlanRequest plan_request;
  plan_request.source = source->get();
  plan_request.target = &target->second.layout;
  plan_request.source_blocks = std::span(request.block_lists);
  plan_request.target_blocks = offer.message.block_lists;
  plan_request.heads = offer.message.heads;
  plan_request.tokens = offer.message.tokens;
  plan_request.unit_bytes = peer.info.unit_bytes;
  auto plan = kv::Plan::create(plan_request);
  if (!plan.is_ok()) return plan.status();
  transfer.num_layers = plan->num_layers();
  if (offer.message.slots.size() != transfer.num_layers) {
    return Status(StatusCode::kMismatch,
                  "the receiver counts " + std::to_string(offer.message.slots.size()) +
                      " layers, this side " + std::to_string(transfer.num_layers));
  }
  transfer.layers = std::make_unique<handoff::TransferState::LayerSent[]>(transfer.num_layers);
  for (uint32_t layer = 0; layer < transfer.num_layers; ++layer) {
    const uint64_t units = plan->units_of_layer(layer);
    if (offer.message.units_per_slot[layer] != units) {
      return Status(StatusCode::kMismatch,
                    "layer " + std::to_string(layer) + ": the receiver expects " +
                        std::to_string(offer.message.units_per_slot[layer]) +
                        " units, this side's plan has " + std::to_string(units));
    }
    transfer.layers[layer].units = units;
    transfer.layers[layer].bytes = plan->bytes_of_layer(layer);
    const wire::SlotReference& slot = offer.message.slots[layer];
    transfer.slots.push_back({counter::SlotIndex(slot.slot), slot.generation, layer});
  }
  for (const LayerGroup& group : (*source)->groups) {
    for (const TensorPlace& place : group.places) {
      BATON_RETURN_IF_ERROR(hold_local(transfer, place.section));
    }
  }
  for (const LayerGroup& group : target->second.layout.groups) {
    for (const TensorPlace& place : group.places) {
      const uint64_t end_bytes = place.offset_bytes + tensor_span_bytes(group, place);
      BATON_RETURN_IF_ERROR(hold_remote(transfer, place.section, end_bytes, peer));
    }
  }
  transfer.tokens = offer.message.tokens;
  transfer.next_token = transfer.tokens.begin;
  transfer.target_blocks = offer.message.block_lists;
  transfer.settlement.open(transfer.num_layers);
  transfer.plan = std::make_unique<kv::Plan>(std::move(plan).value());
  return Status::ok();
}

Result<Transfer> ContextImpl::raw(const RawRequest& request, handoff::TransferKind kind) {
  auto offer = find_offer(request.grant);
  if (!offer.is_ok()) return offer.status();
  auto peer = ready_peer(offer->peer);
  if (!peer.is_ok()) return peer.status();
  auto transfer = new_transfer(*offer, kind, request.deadline_ms);
  Status filled = fill_raw(*transfer, request, *offer, *peer);
  if (!filled.is_ok()) return filled;
  return open_transfer(std::move(transfer), false);
}

Status ContextImpl::fill_raw(handoff::TransferState& transfer, const RawRequest& request,
                             const Offer& offer, const PeerEntry& peer) {
  const bool is_write = transfer.kind == handoff::TransferKind::kWrite;
  if (offer.message.kind != wire::GrantKind::kRanges) {
    return Status(StatusCode::kInvalidArgument, "grant " + std::to_string(request.grant.value) +
                                                    " is for a hand-off: use push() or pull()");
  }
  if (is_write ? !offer.message.allow_write : !offer.message.allow_read) {
    return Status(StatusCode::kPermissionDenied, "grant " + std::to_string(request.grant.value) +
                                                     " allows no " +
                                                     (is_write ? "writes" : "reads"));
  }
  if (!is_write) BATON_RETURN_IF_ERROR(check_reads(peer, "the peer can write instead"));
  if (request.runs.empty()) return Status(StatusCode::kInvalidArgument, "a request without runs");
  if (request.has_message && !is_write)
    return Status(StatusCode::kInvalidArgument, "a read carries no message");
  if (request.message.size() > wire::kMaxNotifyBytes) {
    return Status(StatusCode::kInvalidArgument,
                  "a message of " + std::to_string(request.message.size()) + " bytes: at most " +
                      std::to_string(wire::kMaxNotifyBytes));
  }
  BATON_RETURN_IF_ERROR(hold_local(transfer, request.local_section));
  BATON_RETURN_IF_ERROR(hold_remote(transfer, request.remote_section, 0, peer));
  handoff::PermissionTable granted;
  uint8_t anywhere = 0;
  for (const auto& range : offer.message.ranges) {
    granted.add({range.section.value, range.offset_bytes, range.offset_bytes + range.length_bytes,
                 &anywhere});
  }
  granted.seal();
  for (size_t i = 0; i < request.runs.size(); ++i) {
    const Run& run = request.runs[i];
    const std::string who = "run " + std::to_string(i);
    if (run.length_bytes == 0) return Status(StatusCode::kInvalidArgument, who + " has length 0");
    BATON_RETURN_IF_ERROR(transfer.uses.front()->check_range(
        run.local_offset_bytes, run.length_bytes, who + ", local side"));
    if (run.remote_offset_bytes > UINT64_MAX - run.length_bytes) {
      return Status(StatusCode::kOutOfRange,
                    who + ", remote side: " +
                        range_text(run.remote_offset_bytes, run.length_bytes) + " passes 2^64");
    }
    if (granted.find(request.remote_section.value, run.remote_offset_bytes, run.length_bytes) ==
        nullptr) {
      return Status(
          StatusCode::kPermissionDenied,
          who + ", remote side: " + range_text(run.remote_offset_bytes, run.length_bytes) +
              " of section " + std::to_string(request.remote_section.value) + " of peer " +
              peer.info.name + " lies outside grant " + std::to_string(request.grant.value));
    }
    Status inside = hold_remote(transfer, request.remote_section,
                                run.remote_offset_bytes + run.length_bytes, peer);
    if (!inside.is_ok()) return Status(inside.code(), who + ", remote side: " + inside.message());
  }
  transfer.runs = request.runs;
  transfer.message = request.message;
  transfer.has_message = request.has_message;
  return Status::ok();
}

Result<Transfer> ContextImpl::open_transfer(std::shared_ptr<handoff::TransferState> transfer,
                                            bool takes_offer) {
  auto alarm_ns = enter_transfer(transfer, takes_offer);
  if (!alarm_ns.is_ok()) return alarm_ns.status();
  control_->set_alarm(*alarm_ns);
  return Transfer(shared_from_this(), std::move(transfer));
}

Result<int64_t> ContextImpl::enter_transfer(const std::shared_ptr<handoff::TransferState>& transfer,
                                            bool takes_offer) {
  // One step, as in enter_grant(). With the peer its offers go.
  const std::lock_guard<std::mutex> lock(state_mutex_);
  BATON_RETURN_IF_ERROR(check_room(1, live_transfers_.size(), "Transfers"));
  BATON_RETURN_IF_ERROR(check_uses(transfer->uses));
  const auto offer = offers_.find(transfer->grant);
  if (offer == offers_.end()) {
    return Status(StatusCode::kCancelled,
                  "grant " + std::to_string(transfer->grant.value) + " ended meanwhile");
  }
  if (takes_offer && offer->second.taken) {
    return Status(StatusCode::kFailedPrecondition,
                  "grant " + std::to_string(transfer->grant.value) + " has its Transfer already");
  }
  transfer->id = TransferId(last_transfer_ + 1);
  const auto peer = peers_.find(transfer->peer);
  if (peer != peers_.end()) transfer->meters = peer->second.meters;
  BATON_RETURN_IF_ERROR(engine_->submit(handoff::OpenTransfer{transfer}));
  if (transfer->meters != nullptr) transfer->meters->of(transfer->request_kind()).started.add();
  ++last_transfer_;
  live_transfers_[transfer->id] = transfer;
  if (takes_offer) offer->second.taken = true;
  return runs_out_ns(*transfer, peer == peers_.end() ? 0 : peer->second.lease_basis_ns);
}

bool ContextImpl::takes_chunks(const handoff::TransferState& transfer) {
  return transfer.kind == handoff::TransferKind::kPush ||
         transfer.kind == handoff::TransferKind::kReadGrant;
}

Status ContextImpl::submit_chunk(const std::shared_ptr<handoff::TransferState>& transfer,
                                 const ChunkPlan& plan) {
  if (!takes_chunks(*transfer)) {
    return Status(StatusCode::kInvalidArgument, "chunks belong to pushed Transfers");
  }
  std::shared_ptr<counter::ProgressWordState> word;
  if (plan.word != nullptr) {
    if (!plan.word->is_valid())
      return Status(StatusCode::kInvalidArgument, "the chunk's ProgressWord is not valid");
    word = plan.word->state_;
  }
  const std::lock_guard<std::mutex> lock(transfer->submit_mutex);
  return append_chunk(transfer, plan, std::move(word));
}

Status ContextImpl::append_chunk(const std::shared_ptr<handoff::TransferState>& transfer,
                                 const ChunkPlan& plan,
                                 std::shared_ptr<counter::ProgressWordState> word) {
  if (transfer->sealed_by_caller) {
    return Status(StatusCode::kFailedPrecondition, transfer->describe() + " is sealed");
  }
  if (!transfer->life.is_active()) return ended(*transfer);
  const TokenRange& all = transfer->tokens;
  if (plan.tokens.begin != transfer->next_token || plan.tokens.end <= plan.tokens.begin ||
      plan.tokens.end > all.end) {
    return Status(StatusCode::kInvalidArgument,
                  "chunk [" + std::to_string(plan.tokens.begin) + ", " +
                      std::to_string(plan.tokens.end) + ") does not continue at token " +
                      std::to_string(transfer->next_token) + " of [" + std::to_string(all.begin) +
                      ", " + std::to_string(all.end) + ")");
  }
  if (transfer->chunks_queued.load(std::memory_order_acquire) ==
      handoff::TransferState::kMaxChunks) {
    return Status(StatusCode::kBusy,
                  transfer->describe() + " has 64 chunks unfinished: retry after progress");
  }
  handoff::AddChunk add;
  add.transfer = transfer;
  add.chunk.tokens = plan.tokens;
  add.chunk.word = std::move(word);
  add.chunk.base = plan.base;
  transfer->chunks_queued.fetch_add(1, std::memory_order_acq_rel);
  Status submitted = engine_->submit(std::move(add));
  if (!submitted.is_ok()) {
    transfer->chunks_queued.fetch_sub(1, std::memory_order_acq_rel);
    return submitted;
  }
  transfer->next_token = plan.tokens.end;
  return Status::ok();
}

Status ContextImpl::seal(const std::shared_ptr<handoff::TransferState>& transfer) {
  if (!takes_chunks(*transfer)) {
    return Status(StatusCode::kInvalidArgument, "only pushed Transfers are sealed");
  }
  const std::lock_guard<std::mutex> lock(transfer->submit_mutex);
  // Sealed before, or the receiver has everything: nothing is left to seal. One look at the state:
  // it may become DONE at any moment.
  const State state = transfer->life.state();
  if (transfer->sealed_by_caller || state == State::kDone) return Status::ok();
  if (transfer->next_token < transfer->tokens.end) {
    ChunkPlan rest;
    rest.tokens = {transfer->next_token, transfer->tokens.end};
    BATON_RETURN_IF_ERROR(append_chunk(transfer, rest, nullptr));
  } else if (state != State::kActive) {
    return ended(*transfer);
  }
  BATON_RETURN_IF_ERROR(engine_->submit(handoff::SealTransfer{transfer}));
  transfer->sealed_by_caller = true;
  return Status::ok();
}

void ContextImpl::cancel_transfer(const std::shared_ptr<handoff::TransferState>& transfer,
                                  Status why) {
  if (!transfer->life.begin_cancel(std::move(why))) return;
  transfer->cancelled_ns.store(clock_.now_ns(), std::memory_order_relaxed);
  engine_->queue_cancel(transfer);
}

void ContextImpl::transfer_ended(const std::shared_ptr<handoff::TransferState>& transfer) {
  count_end(*transfer);
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    live_transfers_.erase(transfer->id);
    end_offer(transfer->peer, transfer->grant);
  }
  transfer->uses.clear();  // as GrantState::give_back()
  Event event;
  // A ReadGrant is a Grant to the one who gave it.
  const bool is_grant = transfer->kind == handoff::TransferKind::kReadGrant;
  event.kind = is_grant ? EventKind::kGrantEnded : EventKind::kTransferEnded;
  event.peer = transfer->peer;
  event.grant = transfer->grant;
  if (!is_grant) event.transfer = transfer->id;
  event.tag = transfer->tag;
  event.status = transfer->life.status();
  emit(std::move(event));
  state_changed_.notify_all();
}

}  // namespace baton::api
