// What the engine tells those who watch it: counts, what each request waits for, and one line for
// each failure. Nothing here decides anything.
#include "src/base/assert.h"
#include "src/handoff/engine.h"
#include "src/handoff/failure_line.h"
#include "src/handoff/pull_state.h"
#include "src/handoff/read_grant_state.h"

namespace baton::handoff {

base::PathMeters& Engine::meters_of(const LinkPath& path) {
  return path.link->meters->paths[path.ordinal];
}

// The first cause counts: what follows from it is not another.
void Engine::want_fence(LinkPath& path, FenceCause cause) {
  path.fence_wanted = true;
  if (!path.fence_cause.has_value()) path.fence_cause = cause;
}

// ---- the life of a Path

void Engine::note_opened(LinkPath& path) {
  base::PathMeters& meters = meters_of(path);
  meters.opened.add();
  if (std::exchange(path.died_before, false)) meters.reopened.add();
  path.was_open = true;
  meters.set_phase(base::PathPhase::kOpen, clock_.now_ns());
}

void Engine::note_fencing(LinkPath& path, const Status& why, int64_t now_ns) {
  const Link& link = *path.link;
  FencedPath fenced;
  fenced.cause = path.fence_cause.value_or(FenceCause::kPathBroken);
  if (!link.up) {
    fenced.cause = link.down_why.code() == StatusCode::kCancelled ? FenceCause::kClosing
                                                                  : FenceCause::kPeerLost;
  }
  base::PathMeters& meters = meters_of(path);
  meters.fences[static_cast<size_t>(fenced.cause)].add();
  meters.set_phase(base::PathPhase::kFencing, now_ns);
  path.fence_began_ns = now_ns;
  fenced.path = path.ordinal;
  fenced.transport = path.channel->rail().name();
  fenced.epoch = path.plan.epoch;
  fenced.peer = link.peer;
  fenced.peer_name = link.meters->name;
  fenced.grants = link.grants.size();
  fenced.transfers = link.transfers.size();
  fenced.why = why;
  // With nothing under way this is how every connection ends.
  const bool is_idle = link.grants.empty() && link.transfers.empty();
  logger_.log(is_idle ? LogLevel::kInfo : LogLevel::kWarning, "{}", fence_line(fenced));
}

void Engine::note_fenced(LinkPath& path, int64_t now_ns) {
  base::PathMeters& meters = meters_of(path);
  if (path.fence_began_ns != 0)
    path.link->meters->fence.observe(now_ns - std::exchange(path.fence_began_ns, 0));
  meters.set_phase(base::PathPhase::kNone, now_ns);
  if (!std::exchange(path.was_open, false)) return;
  meters.lost.add();
  path.died_before = true;
  for (const auto& grant : path.link->grants) grant->fenced_paths |= 1u << path.ordinal;
  for (const auto& transfer : path.link->transfers) transfer->fenced_paths |= 1u << path.ordinal;
}

// ---- arrivals

void Engine::note_units(const LinkPath& path, GrantState& grant, uint32_t ordinal, uint64_t units) {
  base::PathMeters& meters = meters_of(path);
  meters.placed_units.add(units);
  if (!grant.life.is_active()) meters.late_units.add(units);
  grant.layers[ordinal].counted.fetch_add(units, std::memory_order_relaxed);
}

// ---- what a request waits for

void Engine::note_wait(const Link& link, GrantState& grant, int64_t now_ns) const {
  if (grant.life.is_active()) {
    const Wait active = grant.is_ranges ? Wait::kRevoked : Wait::kUnits;
    grant.wait.set(grant.pull != nullptr ? Wait::kReads : active, now_ns);
    return;
  }
  for (const LinkPath& path : link.paths) {
    const bool is_fencing =
        path.channel != nullptr && path.channel->state() == transfer::PathState::kFencing;
    if (!is_fencing && !path.fence_wanted) continue;
    grant.wait.set(Wait::kFence, now_ns, path.ordinal);
    return;
  }
  grant.wait.set(grant.quiesced ? Wait::kSignalled : Wait::kQuiesced, now_ns);
}

// Of a Transfer with nothing to stage: it is all staged, or ending. While there is something,
// pump() says what is in the way.
void Engine::note_wait(const Link& link, TransferState& transfer, int64_t now_ns) {
  const bool is_ending = !transfer.life.is_active();
  if (transfer.kind == TransferKind::kReadGrant && !is_ending) {
    note_read_grant(static_cast<ReadGrantState&>(transfer), now_ns);
    return;
  }
  if (!is_ending && !transfer.all_staged) return;
  if (!is_ending && transfer.settlement.is_due()) {
    transfer.wait.set(Wait::kSettle, now_ns);
    return;
  }
  for (const LinkPath& path : link.paths) {
    const bool is_fencing =
        path.channel != nullptr && path.channel->state() == transfer::PathState::kFencing;
    if (!is_ending || (!is_fencing && !path.fence_wanted)) continue;
    transfer.wait.set(Wait::kFence, now_ns, path.ordinal);
    return;
  }
  const bool is_push =
      transfer.kind == TransferKind::kPush || transfer.kind == TransferKind::kReadGrant;
  uint64_t flushes = 0;
  for (const uint32_t out : transfer.flushes_out) flushes += out;
  const uint64_t posts = transfer.all_ops_out() - std::min(transfer.all_ops_out(), flushes);
  if (posts > 0) {
    transfer.wait.set_count(Wait::kOps, now_ns, posts);
  } else if (!is_push) {
    transfer.wait.set(Wait::kFlush, now_ns);
  } else {
    transfer.wait.set(Wait::kVerdict, now_ns);
  }
}

void Engine::note_read_grant(ReadGrantState& grant, int64_t now_ns) {
  if (!grant.reader_started) {
    grant.wait.set(Wait::kReader, now_ns);
  } else if (grant.is_all_told()) {
    grant.wait.set(Wait::kReadDone, now_ns);
  } else if (grant.chunk_head == grant.chunk_tail) {
    grant.wait.set(Wait::kChunk, now_ns);
  } else if (const Chunk& chunk = grant.chunks[grant.chunk_head % TransferState::kMaxChunks];
             chunk.word != nullptr) {
    grant.wait.set_word(now_ns, grant.ticked_layer, chunk.base + grant.ticked_layer + 1,
                        chunk.word->value());
  } else {
    grant.wait.set(Wait::kTurn, now_ns);
  }
}

void Engine::note_all(const Link& link, Wait why, int64_t now_ns) {
  for (const auto& transfer : link.transfers) {
    if (transfer->life.is_active() && !transfer->all_staged) transfer->wait.set(why, now_ns);
  }
}

// Nothing more could be staged: every Path is full, or waits for credits.
void Engine::note_full(const Link& link, TransferState& transfer, int64_t now_ns) {
  bool any_credit = false;
  for (const LinkPath& path : link.paths)
    any_credit = any_credit || (path.is_open() && path.channel->has_credit());
  transfer.wait.set(any_credit ? Wait::kRoom : Wait::kCredits, now_ns);
}

// ---- ends

void Engine::log_end(const GrantState& grant, int64_t now_ns) {
  FailedRequest failed;
  failed.why = grant.life.status();
  failed.grant = grant.id;
  // By what the caller holds: of a Pull a transfer, of a ReadGrant a grant.
  if (grant.pull != nullptr) failed.transfer = grant.pull->transfer;
  failed.tag = grant.tag;
  failed.peer = grant.peer;
  if (grant.meters != nullptr) failed.peer_name = grant.meters->name;
  failed.units = grant.units_counted.load(std::memory_order_relaxed);
  failed.total_units = grant.total_units;
  failed.fenced_paths = grant.fenced_paths;
  failed.after_ns = now_ns - grant.cancelled_ns.load(std::memory_order_relaxed);
  log_end(failed);
}

void Engine::log_end(const TransferState& transfer, int64_t now_ns) {
  FailedRequest failed;
  failed.why = transfer.life.status();
  failed.grant = transfer.grant;
  if (transfer.kind != TransferKind::kReadGrant) failed.transfer = transfer.id;
  failed.tag = transfer.tag;
  failed.peer = transfer.peer;
  if (transfer.meters != nullptr) failed.peer_name = transfer.meters->name;
  failed.units = transfer.units_signalled.load(std::memory_order_relaxed);
  failed.total_units = transfer.plan == nullptr ? 0 : transfer.plan->total_units();
  failed.fenced_paths = transfer.fenced_paths;
  const int64_t began_ns = transfer.cancelled_ns.load(std::memory_order_relaxed);
  failed.after_ns = began_ns == 0 ? 0 : now_ns - began_ns;
  log_end(failed);
}

// What was cancelled on purpose has not failed.
void Engine::log_end(const FailedRequest& failed) {
  if (failed.why.is_ok()) return;
  const bool on_purpose = failed.why.code() == StatusCode::kCancelled;
  logger_.log(on_purpose ? LogLevel::kInfo : LogLevel::kWarning, "{}", failure_line(failed));
}

}  // namespace baton::handoff
