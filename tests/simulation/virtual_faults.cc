// The faults of a run, at their time.
#include <algorithm>

#include "tests/simulation/virtual_run.h"

namespace baton_test {

namespace {

constexpr int64_t kMsNs = 1'000'000;
// A pause that makes the core fence a Path: 500 ms without an answer.
constexpr int64_t kPauseNs = 250 * kMsNs;

baton_loopback_fault_kind path_fault(SimFaultKind kind) {
  switch (kind) {
    case SimFaultKind::kPathKilledAtOneEnd:
      return BATON_LOOPBACK_FAULT_KILL_ONE;
    case SimFaultKind::kHalfDead:
      return BATON_LOOPBACK_FAULT_HALF_DEAD;
    case SimFaultKind::kOneWay:
      return BATON_LOOPBACK_FAULT_ONE_WAY;
    case SimFaultKind::kStall:
      return BATON_LOOPBACK_FAULT_STALL;
    case SimFaultKind::kFull:
      return BATON_LOOPBACK_FAULT_FULL;
    default:
      return BATON_LOOPBACK_FAULT_KILL;
  }
}

}  // namespace

void VirtualRun::on_post(uint32_t path) {
  ++posts_;
  for (const SimFault& fault : scenario_.faults) {
    if (fault.at_post != posts_) continue;
    const bool is_at_once = world_.random().chance(1, 2);
    const auto soon_ns = static_cast<int64_t>(world_.random().below(is_at_once ? 5'000 : 200'000));
    world_.at(world_.now_ns() + soon_ns, [this, &fault, path] { apply(fault, path); });
  }
}

void VirtualRun::apply(const SimFault& fault, uint32_t path) {
  if (is_ending_) return;
  bool was_hit = false;
  if (fault.kind <= SimFaultKind::kFull) {
    was_hit = apply_to_path(fault, path);
  } else if (fault.kind >= SimFaultKind::kConnectionCut &&
             fault.kind <= SimFaultKind::kDisconnect) {
    was_hit = apply_to_connection(fault);
  } else {
    was_hit = apply_to_member(fault);
  }
  if (!was_hit) return;
  ++tally_->faults[fault_name(fault.kind)];
  world_.note(kNobody, fault_name(fault.kind), fault.link, fault.member);
}

bool VirtualRun::apply_to_path(const SimFault& fault, uint32_t path) {
  std::vector<baton_loopback_path_info> paths(1024);
  const uint32_t count = std::min(1024u, baton_loopback_fabric_paths(fabric_, paths.data(), 1024));
  if (count == 0) return false;
  baton_loopback_fault hit{};
  hit.struct_size = sizeof hit;
  hit.kind = path_fault(fault.kind);
  paths.resize(count);
  const baton_loopback_path_info* chosen = &paths[fault.pick % count];
  for (const baton_loopback_path_info& info : paths) {
    const bool is_posters = info.path == path && (fault.pick & 1) == 0;
    const bool is_others = info.peer_path == path && (fault.pick & 1) != 0;
    if (path != UINT32_MAX && (is_posters || is_others)) chosen = &info;
  }
  hit.path = chosen->path;
  hit.until_ns = fault.for_ns == INT64_MAX ? INT64_MAX : world_.now_ns() + fault.for_ns;
  const bool is_short = (fault.kind == SimFaultKind::kStall || fault.kind == SimFaultKind::kFull) &&
                        fault.for_ns <= kPauseNs;
  if (!is_short) hurt_path(hit.path);
  // Of these nobody hears: what went that way waits for its deadline, and a cancel that waits for
  // it has all Paths fenced.
  const bool is_stream = scenario_.capabilities == "tcp" || scenario_.capabilities == "shm";
  const bool is_silent = fault.kind == SimFaultKind::kHalfDead ||
                         (fault.kind == SimFaultKind::kOneWay && is_stream) ||
                         (fault.kind == SimFaultKind::kStall && !is_short);
  if (is_silent) disturb_link_of(*chosen);
  return baton_loopback_fabric_fault(fabric_, &hit) != 0;
}

void VirtualRun::disturb_link_of(const baton_loopback_path_info& path) {
  const uint32_t a = life_of_rail(path.rail_tag)->seat;
  const uint32_t b = path.peer_path == UINT32_MAX ? a : life_of_rail(path.peer_rail_tag)->seat;
  for (uint32_t link = 0; link < links_.size(); ++link) {
    if (std::minmax(links_[link].script.dialer, links_[link].script.listener) == std::minmax(a, b))
      disturb(link);
  }
}

bool VirtualRun::apply_to_connection(const SimFault& fault) {
  const LinkScript& ends = links_[fault.link].script;
  const bool by_dialer = (fault.pick & 1) != 0;
  switch (fault.kind) {
    case SimFaultKind::kConnectionCut:
      disturb(fault.link);
      return network_.cut(ends.dialer, ends.listener, true, true);
    case SimFaultKind::kConnectionCutUnnoticed: {
      disturb(fault.link);
      const bool is_by_nobody = (fault.pick & 6) == 0;
      return network_.cut(ends.dialer, ends.listener, by_dialer && !is_by_nobody,
                          !by_dialer && !is_by_nobody);
    }
    case SimFaultKind::kPartition:
      disturb(fault.link);
      tell_parted(fault.link, fault.for_ns);
      network_.partition(ends.dialer, ends.listener, world_.now_ns() + fault.for_ns);
      return true;
    default:
      break;
  }
  const uint32_t seat = by_dialer ? ends.dialer : ends.listener;
  const uint32_t other = by_dialer ? ends.listener : ends.dialer;
  if (!is_usable(seat) || seats_[seat].frozen_until_ns > world_.now_ns()) return false;
  Life& life = *seats_[seat].life;
  if (life.peers.count(other) == 0) return false;
  disturb(fault.link);
  life.context->disconnect(life.peers[other]).ignore();  // not found: it has just been lost
  wake(seat);
  return true;
}

bool VirtualRun::apply_to_member(const SimFault& fault) {
  if (!is_usable(fault.member)) return false;
  Seat& seat = seats_[fault.member];
  Life& life = *seat.life;
  if (seat.frozen_until_ns > world_.now_ns() && fault.kind != SimFaultKind::kKill &&
      fault.kind != SimFaultKind::kPowerLoss)
    return false;
  // Calls that wait run the world meanwhile. Within one of them another would keep the first
  // waiting for its own end, as no process does another.
  const bool waits =
      fault.kind == SimFaultKind::kClose || fault.kind == SimFaultKind::kSectionWithdrawn;
  const bool is_one_waiting = std::any_of(seats_.begin(), seats_.end(),
                                          [](const Seat& other) { return other.blocked > 0; });
  if (waits && is_one_waiting) return false;
  switch (fault.kind) {
    case SimFaultKind::kNoMemory: {
      baton_loopback_fault hit{};
      hit.struct_size = sizeof hit;
      hit.kind = BATON_LOOPBACK_FAULT_NO_MEMORY;
      hit.rail_tag = life.number * 16 + fault.pick % static_cast<uint32_t>(scenario_.rails.size());
      hit.until_ns = world_.now_ns() + fault.for_ns;
      return baton_loopback_fabric_fault(fabric_, &hit) != 0;
    }
    case SimFaultKind::kFreeze:
      seat.frozen_until_ns = world_.now_ns() + fault.for_ns;
      // Then it does what it would have done meanwhile.
      world_.at(seat.frozen_until_ns + 2'000, [this] { tick(); });
      if (fault.for_ns > kPauseNs) disturb_links_of(fault.member);
      tell_frozen(fault.member, fault.for_ns);
      return true;
    case SimFaultKind::kClockJump:
      if (fault.for_ns > kPauseNs) disturb_links_of(fault.member);
      life.clock->jump(fault.for_ns);
      life.control->look_at_timers();
      wake(fault.member);
      return true;
    case SimFaultKind::kKill:
    case SimFaultKind::kPowerLoss:
      end_life(life, fault.kind == SimFaultKind::kKill);
      if (fault.restart_ns >= 0) restart_later(fault.member, fault.restart_ns);
      return true;
    case SimFaultKind::kClose:
      close_life(life);
      return true;
    case SimFaultKind::kSectionWithdrawn:
      renew_section(life, pick_section(life, fault.pick));
      return true;
    default:
      return false;
  }
}

bool VirtualRun::has_leases(const Link& link) const {
  constexpr int64_t kRoundTripNs = 20 * kMsNs;
  return link.was_up && world_.now_ns() > link.awake_ns + kRoundTripNs;
}

void VirtualRun::tell_frozen(uint32_t seat, int64_t for_ns) {
  for (Running& running : requests_) {
    if (running.request == nullptr) continue;
    const int64_t silent_ns = has_leases(links_[running.link]) ? for_ns : 0;
    if (running.granter == seats_[seat].life) running.request->on_granter_frozen(silent_ns);
    if (running.mover == seats_[seat].life) running.request->on_mover_frozen(silent_ns);
  }
  for (Link& link : links_) {
    if (link.script.dialer == seat || link.script.listener == seat)
      link.awake_ns = std::max(link.awake_ns, seats_[seat].frozen_until_ns);
  }
}

void VirtualRun::tell_parted(uint32_t link, int64_t for_ns) {
  for (Running& running : requests_) {
    if (running.request != nullptr && running.link == link && has_leases(links_[link]))
      running.request->on_parted(for_ns);
  }
}

void VirtualRun::restart_later(uint32_t seat, int64_t delay_ns) {
  ++restarts_pending_;
  world_.at(world_.now_ns() + delay_ns, [this, seat] {
    --restarts_pending_;
    if (is_ending_ || seats_[seat].life != nullptr) return;
    ++tally_->faults["restart"];
    begin_life(seat);
    look_at_links();
  });
}

}  // namespace baton_test
