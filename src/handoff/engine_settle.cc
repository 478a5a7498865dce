// Settlement, both sides: the writer places again what dead Paths may have lost and says so; the
// receiver counts it (docs/architecture.md, "A Path dies"; settlement.h has the books).
#include <algorithm>

#include "src/base/assert.h"
#include "src/base/mutant.h"
#include "src/handoff/engine.h"
#include "src/handoff/read_grant_state.h"

namespace baton::handoff {

namespace {

// As many rewrites of one Transfer before the next one's turn as counted pieces.
constexpr uint32_t kPiecesPerTurn = 512;

// What the peer had counted for this Transfer, by layer. False: it names a slot that there is not.
bool applied_to(const TransferState& transfer, const std::vector<wire::Fenced::Applied>& snapshot,
                std::vector<uint64_t>* applied) {
  applied->assign(transfer.num_layers, 0);
  for (const wire::Fenced::Applied& one : snapshot) {
    if (one.grant != transfer.grant) continue;
    if (one.ordinal >= transfer.num_layers ||
        transfer.slots[one.ordinal].generation != one.generation) {
      return false;
    }
    (*applied)[one.ordinal] += one.units;
  }
  return true;
}

}  // namespace

// ---- the writer

void Engine::settle_path_death(LinkPath& path) {
  Link& link = *path.link;
  std::vector<uint64_t> applied;
  for (const auto& transfer : link.transfers) {
    // The other side has ended it, and leaves it out of what it says of this Path: its pages are
    // not written any more, and nothing of it is told again.
    if (transfer->has_verdict) continue;
    if (transfer->kind == TransferKind::kReadGrant) {
      auto& grant = static_cast<ReadGrantState&>(*transfer);
      if (!grant.reader_started) continue;
      const bool known = applied_to(grant, path.snapshot, &applied);
      if (known && grant.path_died(path.ordinal, applied)) continue;
      if (!link.up) continue;
      output_->drop_peer(
          link.peer, Status(StatusCode::kProtocolError,
                            grant.describe() + ": FENCED of path " + std::to_string(path.ordinal) +
                                " counts tokens that were not told over it"));
      continue;
    }
    if (transfer->kind != TransferKind::kPush) {
      transfer->path_died(path.ordinal);
      continue;
    }
    Settlement& settlement = transfer->settlement;
    // Also when it carried rewrites alone: those have to be made again, over another one.
    if (!settlement.carried(path.ordinal)) continue;
    const bool known = applied_to(*transfer, path.snapshot, &applied);
    if (!known || !settlement.path_died(path.ordinal, applied)) {
      if (!link.up) continue;
      output_->drop_peer(link.peer, Status(StatusCode::kProtocolError,
                                           transfer->describe() + ": FENCED of path " +
                                               std::to_string(path.ordinal) +
                                               " counts units that were not sent over it"));
      continue;
    }
    if (!settlement.is_due()) continue;
    if (settlement.began_ns == 0) settlement.began_ns = path.broken_seen_ns;
  }
}

uint32_t Engine::pump_settlement(Link& link, TransferState& transfer, int64_t now_ns) {
  Settlement& settlement = transfer.settlement;
  if (!settlement.is_due() || !transfer.life.is_active()) return 0;
  baton_source sources[kv::kMaxUnitSources];
  kv::Unit unit;
  uint32_t pieces = 0;
  uint32_t full = 0;
  while (settlement.next(*transfer.plan, &unit)) {
    if (pieces == kPiecesPerTurn) {
      link.more_ready = true;
      return pieces;
    }
    LinkPath* path = pick_path(link, transfer, full);
    if (path == nullptr) {
      if (push_all(link) > 0) {
        full = 0;
        continue;
      }
      link.path_full = true;
      return pieces;
    }
    const transfer::Piece piece = piece_of(*path, transfer, unit, sources);
    if (!path->channel->stage_raw(BATON_POST_WRITE, piece, {&settlement, transfer.grant.value})) {
      full |= 1u << path->ordinal;
      continue;
    }
    settlement.wrote(path->ordinal, unit.length_bytes);
    ++pieces;
  }
  flush_rewrites(link, settlement);
  if (settlement.unflushed() == 0) send_settle(link, transfer, now_ns);
  return pieces;
}

void Engine::flush_rewrites(Link& link, Settlement& settlement) {
  for (LinkPath& path : link.paths) {
    if (!path.is_open() || (settlement.wants_flush() >> path.ordinal & 1) == 0) continue;
    path.channel->push();
    if (path.channel->has_staged(&settlement)) continue;
    // Without room now: the Path's progress makes some, and a turn follows it.
    if (path.channel->flush(&settlement).is_ok()) settlement.flush_posted(path.ordinal);
  }
}

void Engine::send_settle(Link& link, TransferState& transfer, int64_t now_ns) {
  Settlement& settlement = transfer.settlement;
  const uint64_t bytes = settlement.bytes_rewritten.load(std::memory_order_relaxed);
  wire::Settle settle;
  settle.grant = transfer.grant;
  uint64_t units = 0;
  for (const auto& [layer, owed] : settlement.commit()) {
    settle.settled.push_back({layer, transfer.slots[layer].generation, owed});
    units += owed;
  }
  if (settle.settled.empty()) return;
  settle.seq = settlement.next_seq();
  link.meters->settles_sent.add();
  link.meters->settled_units_sent.add(units);
  send_or_drop(link, settle);
  const int64_t lost_ns = now_ns - std::exchange(settlement.began_ns, 0);
  settlement.ns.fetch_add(lost_ns, std::memory_order_relaxed);
  logger_.warning(
      "{}: settled {} units of {} layers, {} bytes written again in all, {} us after the "
      "path was lost",
      transfer.describe(), units, settle.settled.size(), bytes, lost_ns / 1000);
}

// ---- the receiver

void Engine::settle_arrived(Link& link, const wire::Settle& settle, int64_t) {
  const auto found = grants_.find(settle.grant.value);
  if (found == grants_.end() || found->second->peer != link.peer) return;  // ended meanwhile
  GrantState& grant = *found->second;
  const bool again = settle.seq <= grant.settle_seq;
  if (!grant.life.is_active()) return;
  if (again && !base::mutant_is(base::Mutant::kSettleTwice)) return;
  std::string wrong;
  if (settle.seq != grant.settle_seq + 1) wrong = "one is missing before it";
  // Tokens that were lost are told again.
  if (grant.pull != nullptr) wrong = "it is read, not written";
  uint32_t last = UINT32_MAX;
  for (const wire::Settle::Settled& one : settle.settled) {
    if (one.ordinal >= grant.num_layers || (last != UINT32_MAX && one.ordinal <= last) ||
        one.generation != grant.layers[one.ordinal].generation ||
        one.units > counters_->remaining(grant.layers[one.ordinal].slot)) {
      wrong = std::to_string(one.units) + " units of layer " + std::to_string(one.ordinal) +
              " are not missing there";
      break;
    }
    last = one.ordinal;
  }
  if (!wrong.empty()) {
    output_->drop_peer(link.peer, Status(StatusCode::kProtocolError,
                                         grant.describe() + ": Settle " +
                                             std::to_string(settle.seq) + ": " + wrong));
    return;
  }
  grant.settle_seq = settle.seq;
  link.meters->settles_applied.add();
  for (const wire::Settle::Settled& one : settle.settled) {
    const GrantState::Layer& layer = grant.layers[one.ordinal];
    uint64_t units = one.units;
    if (base::mutant_is(base::Mutant::kSettleTwice))
      units = std::min(2 * units, counters_->remaining(layer.slot));
    grant.units_counted.fetch_add(units, std::memory_order_relaxed);
    link.meters->settled_units_applied.add(units);
    grant.layers[one.ordinal].counted.fetch_add(units, std::memory_order_relaxed);
    const auto outcome = counters_->settle(layer.slot, one.generation, link.peer, units);
    BATON_ASSERT(outcome <= counter::ApplyOutcome::kTargetReached, "it was checked above");
    if (outcome == counter::ApplyOutcome::kTargetReached) layer_counted(grant, one.ordinal);
  }
}

}  // namespace baton::handoff
