// The writer's side: Transfers fed to their Path layer by layer, and carried to the receiver's
// verdict.
#include <algorithm>

#include "src/base/assert.h"
#include "src/base/mutant.h"
#include "src/handoff/engine.h"
#include "src/handoff/pull_state.h"
#include "src/handoff/read_grant_state.h"

namespace baton::handoff {

namespace {

// A writer without GRANT_END this long after its cancel fences its own side.
constexpr int64_t kVerdictTimeoutNs = 1'500'000'000;
// How long a cancelled Transfer waits for what it has on a Path to leave: less than the receiver
// waits for its word.
constexpr int64_t kDrainTimeoutNs = 400'000'000;
// The ops of a Transfer that the receiver has decided are over this long after its word.
constexpr int64_t kCompletionTimeoutNs = 500'000'000;
// Pieces of one Transfer before the next one's turn, so that a bulk hand-off does not starve a
// small one.
constexpr uint32_t kPiecesPerTurn = 512;
// How often a word whose writer wakes nobody is looked at while a Transfer waits for it.
constexpr int64_t kWordPollNs = 1'000'000;

}  // namespace

void Engine::open_transfer(const std::shared_ptr<TransferState>& transfer, int64_t now_ns) {
  Link* link = find_link(transfer->peer);
  Status why;
  if (link == nullptr || !link->up || (link->had_path && !has_path(*link))) {
    why = Status(StatusCode::kPeerLost, transfer->describe() + ": the peer is gone");
  } else if (transfer->kind != TransferKind::kReadGrant &&
             !output_->offer_stands(transfer->peer, transfer->grant)) {
    // It ended between the caller's check and now, and the receiver was answered: not one byte may
    // follow.
    why = Status(StatusCode::kCancelled, transfer->describe() + ": the Grant has ended");
  }
  if (!why.is_ok()) {
    transfer->life.begin_cancel(why);
    transfer->life.finish(std::move(why), now_ns);
    log_end(*transfer, now_ns);
    finish_transfer(transfer, now_ns);
    return;
  }
  if (transfer->kind == TransferKind::kReadGrant) {
    open_read_grant(*link, transfer, now_ns);
    return;
  }
  link->transfers.push_back(transfer);
}

uint32_t Engine::pump(Link& link, int64_t now_ns) {
  link.more_ready = false;
  link.path_full = false;
  if (open_paths(link) == 0) {
    note_all(link, Wait::kPath, now_ns);
    return 0;
  }
  uint32_t done = push_all(link);
  // One rotation over both: they share the Paths' room, and whoever comes first may take all of it.
  const size_t transfers = link.transfers.size();
  const size_t count = transfers + link.pulls.size();
  for (size_t i = 0; i < count; ++i) {
    const size_t turn = (link.next_turn + i) % count;
    done += turn < transfers ? pump_transfer(link, *link.transfers[turn], now_ns)
                             : pump_pull(link, *link.pulls[turn - transfers]);
  }
  if (count > 0) link.next_turn = (link.next_turn + 1) % count;
  // Nothing more is ready: what is staged goes out now, counted. While the Path is full there is
  // more, and its progress, which is what makes room, is followed by a turn.
  if (!link.more_ready && !link.path_full) {
    for (LinkPath& path : link.paths) {
      if (path.is_open()) path.channel->close_batch();
    }
  }
  return done + push_all(link);
}

uint32_t Engine::pump_transfer(Link& link, TransferState& transfer, int64_t now_ns) {
  if (!transfer.life.is_active()) return 0;
  if (transfer.kind == TransferKind::kReadGrant)
    return pump_read_grant(link, static_cast<ReadGrantState&>(transfer), now_ns);
  const bool is_push = transfer.kind == TransferKind::kPush;
  const uint32_t rewritten = is_push ? pump_settlement(link, transfer, now_ns) : 0;
  if (transfer.all_staged) return rewritten;
  return rewritten + (is_push ? pump_push(link, transfer, now_ns) : pump_raw(link, transfer));
}

uint32_t Engine::ready_layers(const TransferState& transfer, const Chunk& chunk) {
  if (chunk.word == nullptr || transfer.sealed) return transfer.num_layers;
  const uint64_t value = chunk.word->value();
  return static_cast<uint32_t>(
      std::min<uint64_t>(transfer.num_layers, value > chunk.base ? value - chunk.base : 0));
}

void Engine::poll_word(const Chunk& chunk, int64_t now_ns) {
  if (!chunk.word->is_polled()) return;
  want_timer(now_ns + kWordPollNs);
  has_word_timer_ = true;
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
    const uint32_t ready = ready_layers(transfer, chunk);
    for (; transfer.ticked_layer < ready; ++transfer.ticked_layer) {
      transfer.layers[transfer.ticked_layer].ticked_ns.store(now_ns, std::memory_order_relaxed);
    }
    if (transfer.next_layer >= ready) {
      poll_word(chunk, now_ns);
      transfer.wait.set_word(now_ns, transfer.next_layer, chunk.base + transfer.next_layer + 1,
                             chunk.word->value());
      return false;
    }
    transfer.cursor = transfer.plan->cursor(transfer.next_layer, chunk.tokens);
    transfer.cursor_index = 0;
    return true;
  }
  if (transfer.sealed) {
    transfer.all_staged = true;
  } else {
    transfer.wait.set(Wait::kChunk, now_ns);
  }
  return false;
}

uint32_t Engine::pump_push(Link& link, TransferState& transfer, int64_t now_ns) {
  if (!transfer.started) {
    // No lease is held before the first echo.
    if (output_->lease_basis_ns(transfer.peer) == 0) {
      transfer.wait.set(Wait::kLease, now_ns);
      return 0;
    }
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
      if (push_all(link) > 0) continue;
      link.path_full = true;
      note_full(link, transfer, now_ns);
      return pieces;
    }
    transfer.unit_pending = false;
    ++transfer.cursor_index;
    ++pieces;
  }
  link.more_ready = true;
  transfer.wait.set(Wait::kTurn, now_ns);
  return pieces;
}

void Engine::begin_transfer_end(Link& link, TransferState& transfer, int64_t now_ns) {
  transfer.cancel_seen_ns = now_ns;
  transfer.unit_pending = false;
  transfer.cursor_open = false;
  transfer.settlement.stop();
  drop_staged(link, &transfer);
  drop_staged(link, &transfer.settlement);
  const Status why = transfer.life.status();
  int64_t never = 0;
  transfer.cancelled_ns.compare_exchange_strong(never, now_ns, std::memory_order_relaxed);
  const bool has_verdict_there =
      transfer.kind == TransferKind::kPush || transfer.kind == TransferKind::kReadGrant;
  if (has_verdict_there && !transfer.cancel_from_peer && !transfer.has_verdict) {
    send_or_drop(link, wire::Cancel{transfer.grant, why.code(), why.message()});
  }
}

// Of every Path that is not fenced at both ends.
void Engine::send_quiesced(Link& link, TransferState& transfer) {
  transfer.quiesced_sent = true;
  wire::Quiesced quiesced;
  quiesced.grant = transfer.grant;
  for (const LinkPath& path : link.paths) {
    if (path.channel == nullptr && !path.fenced_here) continue;
    wire::Quiesced::OnPath on;
    on.epoch = path.plan.epoch;
    on.broken = !path.is_open();
    const auto signalled =
        transfer.kind == TransferKind::kReadGrant
            ? static_cast<const ReadGrantState&>(transfer).signalled_on(path.ordinal)
            : transfer.settlement.signalled_on(path.ordinal);
    on.signalled.assign(signalled.begin(), signalled.end());
    quiesced.paths.push_back(std::move(on));
  }
  send_or_drop(link, quiesced);
}

bool Engine::settle_push(Link& link, TransferState& transfer, int64_t now_ns) {
  Settlement& settlement = transfer.settlement;
  const bool staged = has_staged(link, &transfer, false) || has_staged(link, &settlement, false);
  if (transfer.has_verdict && transfer.all_ops_out() == 0 && !staged) {
    Status outcome;
    if (transfer.verdict != StatusCode::kOk)
      outcome = Status(transfer.verdict, transfer.verdict_message);
    transfer.life.finish(std::move(outcome), now_ns);
    return true;
  }
  if (transfer.has_verdict) fence_silent_paths(link, transfer, now_ns);
  if (transfer.life.state() != State::kCancelling) return false;
  if (transfer.cancel_seen_ns == 0) {
    begin_transfer_end(link, transfer, now_ns);
    return false;
  }
  if (!transfer.quiesced_sent && link.up) {
    if (has_stopped(link, transfer)) {
      send_quiesced(link, transfer);
    } else {
      fence_undrained(link, transfer, undrained(link, transfer), now_ns);
    }
  }
  const int64_t fence_at_ns = transfer.cancel_seen_ns + kVerdictTimeoutNs;
  if (link.up && now_ns < fence_at_ns) {
    want_timer(fence_at_ns);
    return false;
  }
  // No verdict will be adopted any more; the local memory still has to come back quiet.
  bool is_quiet = transfer.all_ops_out() == 0;
  for (LinkPath& path : link.paths) {
    if (path.channel == nullptr || !settlement.carried(path.ordinal)) continue;
    want_fence(path, FenceCause::kNoVerdict);
    want_timer(now_ns);
    is_quiet = false;
  }
  if (!is_quiet) return false;
  const Status why = transfer.life.status();
  transfer.life.finish(
      Status(StatusCode::kInDoubt,
             transfer.describe() + " ended without the receiver's verdict: " + why.to_string()),
      now_ns);
  return true;
}

// The open Paths, by bit, on which something of the cancelled Transfer is staged, or of its
// rewrites not flushed.
uint32_t Engine::undrained(const Link& link, const TransferState& transfer) {
  uint32_t paths = transfer.settlement.unflushed() & open_paths(link);
  for (const LinkPath& path : link.paths) {
    if (!path.is_open()) continue;
    if (path.channel->has_staged(&transfer) || path.channel->has_staged(&transfer.settlement))
      paths |= 1u << path.ordinal;
  }
  return paths;
}

// A Path that does not move holds up the word that the receiver waits for, which would take all
// Paths of the peer with it: it is fenced alone, before that.
void Engine::fence_undrained(Link& link, const TransferState& transfer, uint32_t paths,
                             int64_t now_ns) {
  const int64_t fence_at_ns = transfer.cancel_seen_ns + kDrainTimeoutNs;
  want_timer(std::max(fence_at_ns, now_ns));
  if (now_ns < fence_at_ns) return;
  for (LinkPath& path : link.paths) {
    if (!path.is_open() || (paths >> path.ordinal & 1) == 0) continue;
    want_fence(path, FenceCause::kNotQuiet);
    if (path.broken_why.empty()) path.broken_why = "it did not drain after a cancel";
  }
}

// All is decided, and a Path keeps the Transfer's memory: it has lost the completions.
void Engine::fence_silent_paths(Link& link, const TransferState& transfer, int64_t now_ns) {
  const int64_t fence_at_ns = transfer.verdict_ns + kCompletionTimeoutNs;
  want_timer(std::max(fence_at_ns, now_ns));
  if (now_ns < fence_at_ns) return;
  for (LinkPath& path : link.paths) {
    const bool is_user = transfer.kind == TransferKind::kReadGrant
                             ? static_cast<const ReadGrantState&>(transfer).used(path.ordinal)
                             : transfer.settlement.carried(path.ordinal);
    if (path.channel == nullptr || !is_user) continue;
    want_fence(path, FenceCause::kNoVerdict);
    if (path.broken_why.empty()) path.broken_why = "it has lost the completions of its posts";
  }
}

// A cancelled Transfer: every batch of it is closed, and what it rewrote is flushed, on each Path
// that is open. The rest is fenced before long, and said to be broken.
bool Engine::has_stopped(Link& link, TransferState& transfer) {
  if (base::mutant_is(base::Mutant::kCancelAckedEarly)) return true;
  Settlement& settlement = transfer.settlement;
  flush_rewrites(link, settlement);
  return !has_staged(link, &transfer, true) && !has_staged(link, &settlement, true) &&
         (settlement.unflushed() & open_paths(link)) == 0;
}

bool Engine::settle_transfer(Link& link, TransferState& transfer, int64_t now_ns) {
  switch (transfer.kind) {
    case TransferKind::kPush:
      return settle_push(link, transfer, now_ns);
    case TransferKind::kReadGrant:
      return settle_read_grant(link, static_cast<ReadGrantState&>(transfer), now_ns);
    case TransferKind::kWrite:
    case TransferKind::kRead:
      break;
  }
  return settle_raw(link, transfer, now_ns);
}

void Engine::settle_transfers(Link& link, int64_t now_ns) {
  for (size_t i = 0; i < link.transfers.size();) {
    const std::shared_ptr<TransferState> transfer = link.transfers[i];
    if (!settle_transfer(link, *transfer, now_ns)) {
      note_wait(link, *transfer, now_ns);
      ++i;
      continue;
    }
    log_end(*transfer, now_ns);
    link.transfers.erase(link.transfers.begin() + static_cast<std::ptrdiff_t>(i));
    finish_transfer(transfer, now_ns);
  }
  answer_range_cancels(link);
}

void Engine::finish_transfer(const std::shared_ptr<TransferState>& transfer, int64_t) {
  BATON_ASSERT(transfer->life.is_terminal() && transfer->all_ops_out() == 0,
               "a Transfer ends with nothing in flight");
  if (transfer->kind == TransferKind::kReadGrant) read_grants_.erase(transfer->grant.value);
  if (transfer->meters != nullptr) {
    transfer->meters->rewritten_bytes.add(
        transfer->settlement.bytes_rewritten.load(std::memory_order_relaxed));
  }
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
    transfer->verdict_ns = clock_.now_ns();
    transfer->settlement.stop();
    transfer->verdict = end.verdict;
    transfer->verdict_message = end.message;
  }
}

}  // namespace baton::handoff
