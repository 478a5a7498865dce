// Plain bytes: raw writes and reads of a peer's memory under a range Grant. Nothing of them is
// counted: a write is done when it is flushed on every Path that it used, a read when its bytes are
// here. When a Path of one dies, all of it goes over the others again.
#include <algorithm>

#include "src/handoff/engine.h"

namespace baton::handoff {

namespace {

// As engine_send.cc.
constexpr uint32_t kPiecesPerTurn = 512;

}  // namespace

bool Engine::stage_run(Link& link, TransferState& transfer, uint32_t length) {
  const TransferState::LocalSection& local = transfer.local.front();
  const Run& run = transfer.runs[transfer.next_run];
  const baton_post_kind kind =
      transfer.kind == TransferKind::kRead ? BATON_POST_READ : BATON_POST_WRITE;
  uint32_t full = 0;
  for (LinkPath* path = stripe_path(link, transfer); path != nullptr;
       path = pick_path(link, transfer, full)) {
    const baton_source source{local.memory + run.local_offset_bytes + transfer.run_offset,
                              local.regions[path->plan.rail.value], length, 0};
    const baton_region_key& key = *transfer.remote.front().on(path->plan.peer_rail);
    transfer::Piece piece;
    piece.sources = &source;
    piece.num_sources = 1;
    piece.length_bytes = length;
    piece.target_key = key.key;
    piece.target_address = key.base + run.remote_offset_bytes + transfer.run_offset;
    if (path->channel->stage_raw(kind, piece, {&transfer, transfer.grant.value})) {
      TransferState::Stripe& stripe = transfer.stripe;
      if (stripe.path != path->ordinal) stripe = {path->ordinal, UINT32_MAX, link.unit_bytes};
      stripe.bytes_left -= std::min<uint64_t>(stripe.bytes_left, length);
      transfer.used_paths |= 1u << path->ordinal;
      return true;
    }
    full |= 1u << path->ordinal;
  }
  return false;
}

uint32_t Engine::pump_raw(Link& link, TransferState& transfer) {
  // It starts over when the Path that it lost is dead.
  if ((transfer.used_paths & ~open_paths(link)) != 0) {
    transfer.wait.set(Wait::kPath, clock_.now_ns());
    return 0;
  }
  uint32_t pieces = 0;
  while (pieces < kPiecesPerTurn && transfer.next_run < transfer.runs.size()) {
    const Run& run = transfer.runs[transfer.next_run];
    const uint64_t left = run.length_bytes - transfer.run_offset;
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(left, link.unit_bytes));
    if (!stage_run(link, transfer, length)) {
      if (push_all(link) > 0) continue;
      link.path_full = true;
      note_full(link, transfer, clock_.now_ns());
      return pieces;
    }
    ++pieces;
    transfer.run_offset += length;
    if (transfer.run_offset == run.length_bytes) {
      transfer.run_offset = 0;
      ++transfer.next_run;
    }
  }
  transfer.all_staged = transfer.next_run == transfer.runs.size();
  if (!transfer.all_staged) {
    link.more_ready = true;
    transfer.wait.set(Wait::kTurn, clock_.now_ns());
  }
  return pieces;
}

// Placement is known by a flush behind the last write; also of a cancelled one, whose accepted
// writes still land.
void Engine::flush_raw(Link& link, TransferState& transfer, uint32_t paths) {
  for (LinkPath& path : link.paths) {
    const uint32_t bit = 1u << path.ordinal;
    if ((paths & bit) == 0 || (transfer.flush_posted & bit) != 0) continue;
    // Without room now: the Path's progress makes some, and a turn follows it.
    if (path.channel->flush(&transfer).is_ok()) transfer.flush_posted |= bit;
  }
}

// It is quiet, and was to be cancelled. `in_doubt`: writes of which no flush tells.
void Engine::finish_raw(TransferState& transfer, bool in_doubt, int64_t now_ns) {
  Status why = transfer.life.status();
  if (in_doubt) {
    why = Status(StatusCode::kInDoubt,
                 transfer.describe() +
                     " ended before its writes were known to be placed: " + why.to_string());
  }
  transfer.life.finish(std::move(why), now_ns);
}

bool Engine::settle_raw(Link& link, TransferState& transfer, int64_t now_ns) {
  if (transfer.op_refused) {
    transfer.life.begin_cancel(
        Status(StatusCode::kPermissionDenied,
               transfer.describe() + ": the peer refused a range outside the Grant"));
  }
  const bool cancelling = transfer.life.state() == State::kCancelling;
  if (cancelling && transfer.cancel_seen_ns == 0) {
    begin_transfer_end(link, transfer, now_ns);
    return false;
  }
  const uint32_t open = open_paths(link);
  const uint32_t used = transfer.used_paths;
  const bool is_write = transfer.kind == TransferKind::kWrite;
  const bool stopped = cancelling || transfer.all_staged;
  const bool staged = has_staged(link, &transfer, true);
  if (stopped && !staged && is_write) flush_raw(link, transfer, transfer.posted_paths() & open);
  const uint32_t unknown = is_write ? transfer.posted_paths() & ~transfer.flushed : 0;
  const uint32_t lost = used & ~open & ~transfer.flushed;
  const bool quiet = stopped && !staged && transfer.ops_out == 0 && (unknown & open) == 0;
  if (quiet && !cancelling && unknown == 0 && lost == 0) {
    // Claimed first: a cancel that wins now would have told the peer of what is not DONE. Seen
    // after, so that what the caller sends then comes behind it.
    if (!transfer.life.begin_complete()) return false;
    if (transfer.has_message)
      send_or_drop(link, wire::Notify{transfer.grant.value, transfer.message});
    transfer.life.end_complete(now_ns);
    return true;
  }
  if (quiet && cancelling) {
    finish_raw(transfer, unknown != 0 || (is_write && transfer.writes_in_doubt), now_ns);
    return true;
  }
  if (!cancelling) return false;
  uint32_t busy = unknown;
  for (const LinkPath& path : link.paths) {
    const bool is_busy = transfer.ops_on[path.ordinal] > 0 ||
                         (path.is_open() && path.channel->has_staged(&transfer));
    if (is_busy) busy |= 1u << path.ordinal;
  }
  fence_undrained(link, transfer, busy, now_ns);
  return false;
}

void Engine::answer_range_cancels(Link& link) {
  for (size_t i = 0; i < link.quiesce_owed.size();) {
    const GrantId grant = link.quiesce_owed[i];
    const bool busy =
        std::any_of(link.transfers.begin(), link.transfers.end(),
                    [grant](const auto& transfer) { return transfer->grant == grant; });
    if (busy) {
      ++i;
      continue;
    }
    wire::Quiesced quiesced;
    quiesced.grant = grant;
    for (const LinkPath& path : link.paths) {
      if (path.channel == nullptr && !path.fenced_here) continue;
      wire::Quiesced::OnPath on;
      on.epoch = path.plan.epoch;
      on.broken = !path.is_open();
      quiesced.paths.push_back(std::move(on));
    }
    send_or_drop(link, quiesced);
    link.quiesce_owed.erase(link.quiesce_owed.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

}  // namespace baton::handoff
