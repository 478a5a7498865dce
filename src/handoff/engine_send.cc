// The writer's side: Transfers fed to their Path layer by layer, and carried to the receiver's
// verdict.
#include <algorithm>

#include "src/base/assert.h"
#include "src/handoff/engine.h"

namespace baton::handoff {

namespace {

// A writer without GRANT_END this long after its cancel fences its own side.
constexpr int64_t kVerdictTimeoutNs = 1'500'000'000;
// Pieces of one Transfer before the next one's turn, so that a bulk hand-off does not starve a
// small one.
constexpr uint32_t kPiecesPerTurn = 512;
// How often a word whose writer wakes nobody is looked at while a Transfer waits for it.
constexpr int64_t kWordPollNs = 1'000'000;

const TransferState::LocalSection& local_of(const TransferState& transfer, uint32_t section) {
  for (const auto& local : transfer.local) {
    if (local.id == section) return local;
  }
  BATON_ASSERT(false, "a Plan names sections that its Transfer holds");
  return transfer.local.front();
}

const baton_region_key& remote_of(const TransferState& transfer, uint32_t section) {
  for (const auto& remote : transfer.remote) {
    if (remote.id == section) return remote.key;
  }
  BATON_ASSERT(false, "a Plan names sections that the peer described");
  return transfer.remote.front().key;
}

}  // namespace

void Engine::open_transfer(const std::shared_ptr<TransferState>& transfer, int64_t now_ns) {
  Link* link = find_link(transfer->peer);
  Status why;
  if (link == nullptr || !link->up || (link->had_path && link->channel == nullptr)) {
    why = Status(StatusCode::kPeerLost, transfer->describe() + ": the peer is gone");
  } else if (!output_->offer_stands(transfer->peer, transfer->grant)) {
    // It ended between the caller's check and now, and the receiver was answered: not one byte may
    // follow.
    why = Status(StatusCode::kCancelled, transfer->describe() + ": the Grant has ended");
  }
  if (!why.is_ok()) {
    transfer->life.begin_cancel(why);
    transfer->life.finish(std::move(why), now_ns);
    finish_transfer(transfer, now_ns);
    return;
  }
  link->transfers.push_back(transfer);
}

uint32_t Engine::pump(Link& link, int64_t now_ns) {
  link.more_ready = false;
  link.path_full = false;
  transfer::PathChannel* channel = link.channel.get();
  if (channel == nullptr || channel->state() != transfer::PathState::kOpen) return 0;
  uint32_t done = channel->push();
  const size_t count = link.transfers.size();
  for (size_t i = 0; i < count; ++i) {
    TransferState& transfer = *link.transfers[(link.next_transfer + i) % count];
    if (!transfer.life.is_active() || transfer.all_staged) continue;
    done += transfer.kind == TransferKind::kPush ? pump_push(link, transfer, now_ns)
                                                 : pump_raw(link, transfer);
  }
  if (count > 0) link.next_transfer = (link.next_transfer + 1) % count;
  // Nothing more is ready: what is staged goes out now, counted. While the Path is full there is
  // more, and its progress, which is what makes room, is followed by a turn.
  if (!link.more_ready && !link.path_full) channel->close_batch();
  return done + channel->push();
}

bool Engine::next_ready_layer(TransferState& transfer, int64_t now_ns) {
  while (transfer.chunk_head != transfer.chunk_tail) {
    Chunk& chunk = transfer.chunks[transfer.chunk_head % TransferState::kMaxChunks];
    if (transfer.next_layer == transfer.num_layers) {
      chunk = Chunk();
      ++transfer.chunk_head;
      transfer.next_layer = 0;
      transfer.ticked_layer = 0;
      transfer.chunks_queued.fetch_sub(1, std::memory_order_release);
      continue;
    }
    uint64_t ready = transfer.num_layers;
    if (chunk.word != nullptr && !transfer.sealed) {
      const uint64_t value = chunk.word->value();
      ready = std::min<uint64_t>(ready, value > chunk.base ? value - chunk.base : 0);
    }
    for (; transfer.ticked_layer < ready; ++transfer.ticked_layer) {
      transfer.layers[transfer.ticked_layer].ticked_ns.store(now_ns, std::memory_order_relaxed);
    }
    if (transfer.next_layer >= ready) {
      if (chunk.word->is_polled()) {
        want_timer(now_ns + kWordPollNs);
        has_word_timer_ = true;
      }
      return false;
    }
    transfer.cursor = transfer.plan->cursor(transfer.next_layer, chunk.tokens);
    return true;
  }
  if (transfer.sealed) transfer.all_staged = true;
  return false;
}

bool Engine::stage_next_unit(Link& link, TransferState& transfer) {
  const kv::Unit& unit = transfer.unit;
  baton_source sources[kv::kMaxUnitSources];
  for (uint32_t i = 0; i < unit.num_sources; ++i) {
    const kv::SourceRange& range = unit.sources[i];
    const TransferState::LocalSection& local = local_of(transfer, range.section.value);
    sources[i] =
        baton_source{local.memory + range.offset_bytes, local.region, range.length_bytes, 0};
  }
  const baton_region_key& key = remote_of(transfer, unit.target_section.value);
  transfer::Piece piece;
  piece.sources = sources;
  piece.num_sources = unit.num_sources;
  piece.length_bytes = unit.length_bytes;
  piece.target_key = key.key;
  piece.target_address = key.base + unit.target_offset_bytes;
  return link.channel->stage_unit(piece, {&transfer, transfer.grant.value},
                                  transfer.slots[unit.layer_ordinal]);
}

uint32_t Engine::pump_push(Link& link, TransferState& transfer, int64_t now_ns) {
  if (!transfer.started) {
    // No lease is held before the first echo.
    if (output_->lease_basis_ns(transfer.peer) == 0) return 0;
    transfer.started = true;
  }
  uint32_t pieces = 0;
  while (pieces < kPiecesPerTurn) {
    if (!transfer.unit_pending) {
      if (!transfer.cursor_open && !next_ready_layer(transfer, now_ns)) return pieces;
      transfer.cursor_open = true;
      if (!transfer.cursor.next(transfer.unit)) {
        transfer.cursor_open = false;
        ++transfer.next_layer;
        continue;
      }
      transfer.unit_pending = true;
    }
    if (!stage_next_unit(link, transfer)) {
      if (link.channel->push() > 0) continue;
      link.path_full = true;
      return pieces;
    }
    transfer.unit_pending = false;
    ++pieces;
  }
  link.more_ready = true;
  return pieces;
}

uint32_t Engine::pump_raw(Link& link, TransferState& transfer) {
  const TransferState::LocalSection& local = transfer.local.front();
  const baton_region_key& key = transfer.remote.front().key;
  const baton_post_kind kind =
      transfer.kind == TransferKind::kRead ? BATON_POST_READ : BATON_POST_WRITE;
  uint32_t pieces = 0;
  while (pieces < kPiecesPerTurn && transfer.next_run < transfer.runs.size()) {
    const Run& run = transfer.runs[transfer.next_run];
    const uint64_t left = run.length_bytes - transfer.run_offset;
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(left, link.unit_bytes));
    const baton_source source{local.memory + run.local_offset_bytes + transfer.run_offset,
                              local.region, length, 0};
    transfer::Piece piece;
    piece.sources = &source;
    piece.num_sources = 1;
    piece.length_bytes = length;
    piece.target_key = key.key;
    piece.target_address = key.base + run.remote_offset_bytes + transfer.run_offset;
    if (!link.channel->stage_raw(kind, piece, {&transfer, transfer.grant.value})) {
      if (link.channel->push() > 0) continue;
      link.path_full = true;
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
  if (!transfer.all_staged) link.more_ready = true;
  return pieces;
}

void Engine::begin_transfer_end(Link& link, TransferState& transfer, int64_t now_ns) {
  transfer.cancel_seen_ns = now_ns;
  transfer.unit_pending = false;
  transfer.cursor_open = false;
  if (link.channel != nullptr) link.channel->drop(&transfer);
  const Status why = transfer.life.status();
  logger_.warning("{}: {}: {}", transfer.describe(), status_code_name(why.code()), why.message());
  if (transfer.kind == TransferKind::kPush && !transfer.cancel_from_peer && !transfer.has_verdict) {
    send_or_drop(link, wire::Cancel{transfer.grant, why.code(), why.message()});
  }
}

void Engine::send_quiesced(Link& link, TransferState& transfer) {
  transfer.quiesced_sent = true;
  wire::Quiesced quiesced;
  quiesced.grant = transfer.grant;
  wire::Quiesced::OnPath path;
  path.epoch = link.path_epoch;
  path.broken = transfer.path_lost || link.channel == nullptr ||
                link.channel->state() != transfer::PathState::kOpen;
  for (uint32_t i = 0; i < transfer.num_layers; ++i) {
    path.signalled.push_back(transfer.layers[i].signalled.load(std::memory_order_relaxed));
  }
  quiesced.paths.push_back(std::move(path));
  send_or_drop(link, quiesced);
}

bool Engine::settle_push(Link& link, TransferState& transfer, int64_t now_ns) {
  const bool staged = link.channel != nullptr && link.channel->has_staged(&transfer);
  if (transfer.has_verdict && transfer.ops_out == 0 && !staged) {
    Status outcome;
    if (transfer.verdict != StatusCode::kOk)
      outcome = Status(transfer.verdict, transfer.verdict_message);
    transfer.life.finish(std::move(outcome), now_ns);
    return true;
  }
  if (transfer.life.state() != State::kCancelling) return false;
  if (transfer.cancel_seen_ns == 0) {
    begin_transfer_end(link, transfer, now_ns);
    return false;
  }
  const bool path_gone = transfer.path_lost || link.channel == nullptr;
  if (!transfer.quiesced_sent && link.up && (!staged || path_gone)) send_quiesced(link, transfer);
  const int64_t fence_at_ns = transfer.cancel_seen_ns + kVerdictTimeoutNs;
  if (link.up && now_ns < fence_at_ns) {
    want_timer(fence_at_ns);
    return false;
  }
  // No verdict will be adopted any more; the local memory still has to come back quiet.
  if (link.channel != nullptr && !(transfer.path_lost && transfer.ops_out == 0)) {
    link.fence_wanted = true;
    want_timer(now_ns);
    return false;
  }
  if (transfer.ops_out != 0) return false;
  const Status why = transfer.life.status();
  transfer.life.finish(
      Status(StatusCode::kInDoubt,
             transfer.describe() + " ended without the receiver's verdict: " + why.to_string()),
      now_ns);
  return true;
}

bool Engine::settle_raw(Link& link, TransferState& transfer, int64_t now_ns) {
  transfer::PathChannel* channel = link.channel.get();
  const bool staged = channel != nullptr && channel->has_staged(&transfer);
  const bool path_open =
      channel != nullptr && channel->state() == transfer::PathState::kOpen && !transfer.path_lost;
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
  const bool stopped = cancelling || transfer.all_staged;
  // Placement is known by a flush behind the last write; also of a cancelled one, whose accepted
  // writes still land.
  const bool wants_flush =
      transfer.kind == TransferKind::kWrite && transfer.posts.load(std::memory_order_relaxed) > 0;
  if (stopped && !staged && path_open && wants_flush && !transfer.flush_posted) {
    transfer.flush_posted = channel->flush(&transfer).is_ok();
    if (!transfer.flush_posted) want_timer(now_ns + 100'000);
  }
  const bool quiet = stopped && !staged && transfer.ops_out == 0;
  if (quiet && !cancelling && !transfer.path_lost && (!wants_flush || transfer.flushed)) {
    if (transfer.has_message)
      send_or_drop(link, wire::Notify{transfer.grant.value, transfer.message});
    return transfer.life.complete(now_ns);
  }
  if (quiet && cancelling &&
      (transfer.path_lost || !path_open || !wants_flush || transfer.flushed)) {
    Status why = transfer.life.status();
    // Whether the Path's end has reached this Transfer's ops already, or found none of them out.
    if (wants_flush && !transfer.flushed) {
      why = Status(StatusCode::kInDoubt,
                   transfer.describe() +
                       " ended before its writes were known to be placed: " + why.to_string());
    }
    transfer.life.finish(std::move(why), now_ns);
    return true;
  }
  if (cancelling) {
    const int64_t fence_at_ns = transfer.cancel_seen_ns + kVerdictTimeoutNs;
    if (now_ns >= fence_at_ns) link.fence_wanted = true;
    want_timer(std::max(fence_at_ns, now_ns));
  }
  return false;
}

void Engine::settle_transfers(Link& link, int64_t now_ns) {
  for (size_t i = 0; i < link.transfers.size();) {
    const std::shared_ptr<TransferState> transfer = link.transfers[i];
    const bool ended = transfer->kind == TransferKind::kPush ? settle_push(link, *transfer, now_ns)
                                                             : settle_raw(link, *transfer, now_ns);
    if (!ended) {
      ++i;
      continue;
    }
    link.transfers.erase(link.transfers.begin() + static_cast<std::ptrdiff_t>(i));
    finish_transfer(transfer, now_ns);
  }
  answer_range_cancels(link);
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
    wire::Quiesced::OnPath path;
    path.epoch = link.path_epoch;
    path.broken = link.channel == nullptr || link.channel->state() != transfer::PathState::kOpen;
    if (link.path_epoch) quiesced.paths.push_back(std::move(path));
    send_or_drop(link, quiesced);
    link.quiesce_owed.erase(link.quiesce_owed.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Engine::finish_transfer(const std::shared_ptr<TransferState>& transfer, int64_t) {
  BATON_ASSERT(transfer->life.is_terminal() && transfer->ops_out == 0,
               "a Transfer ends with nothing in flight");
  output_->transfer_ended(transfer);
}

void Engine::end_arrived(Link& link, const wire::GrantEnd& end) {
  // Acknowledged always: a verdict for a Transfer that is no more is only acknowledged.
  send_or_drop(link, wire::GrantEndAck{end.grant});
  output_->offer_ended(link.peer, end.grant);
  for (const auto& transfer : link.transfers) {
    if (transfer->grant != end.grant || transfer->kind != TransferKind::kPush) continue;
    if (end.verdict == StatusCode::kOk && end.units != transfer->plan->total_units()) {
      output_->drop_peer(
          link.peer,
          Status(StatusCode::kProtocolError,
                 transfer->describe() + ": GrantEnd says OK after " + std::to_string(end.units) +
                     " of " + std::to_string(transfer->plan->total_units()) + " units"));
      continue;
    }
    transfer->has_verdict = true;
    transfer->verdict = end.verdict;
    transfer->verdict_message = end.message;
  }
}

}  // namespace baton::handoff
