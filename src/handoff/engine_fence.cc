// The end of a Path: looked after between turns, fenced here and at the peer, closed. Plug-in
// callbacks only take notes; what follows from them happens in look_after_paths, outside of the
// plug-in's calls (docs/architecture.md, "A Path dies").
#include <algorithm>

#include "src/base/assert.h"
#include "src/base/mutant.h"
#include "src/handoff/engine.h"
#include "src/handoff/pull_state.h"

namespace baton::handoff {

namespace {

// A peer that dies takes its Paths and its control connection with it, in either order of notice.
// The last Path, broken, waits this long for the other news, so that a death has one code
// (PEER_LOST) always.
constexpr int64_t kDeathNewsNs = 200'000'000;

std::string name_of(const transfer::PathChannel* channel, PeerId peer) {
  return channel != nullptr ? channel->describe()
                            : "the path to peer " + std::to_string(peer.value);
}

}  // namespace

// ---- notes

void Engine::on_path_broken(uint64_t path_cookie, const char* reason) {
  ++ready_layers_;
  LinkPath* path = path_of(path_cookie);
  if (path == nullptr || path->channel == nullptr) return;
  if (path->channel->state() == transfer::PathState::kOpen)
    path->channel->set_state(transfer::PathState::kBroken);
  if (path->broken_why.empty()) path->broken_why = reason != nullptr ? reason : "no reason given";
}

void Engine::on_fenced(uint64_t path_cookie) {
  ++ready_layers_;
  LinkPath* path = path_of(path_cookie);
  if (path != nullptr && path->channel != nullptr)
    path->channel->set_state(transfer::PathState::kFenced);
}

void Engine::on_op_done(uint64_t path_cookie, uint64_t op, baton_op_status status) {
  ++ready_layers_;
  LinkPath* path = path_of(path_cookie);
  BATON_ASSERT(path != nullptr && path->channel != nullptr, "ops are reported on live paths");
  path->channel->op_done(op, status);
}

// ---- who is left

bool Engine::has_path(const Link& link) {
  return std::any_of(link.paths.begin(), link.paths.end(),
                     [](const LinkPath& path) { return path.is_there(); });
}

uint32_t Engine::open_paths(const Link& link) {
  uint32_t open = 0;
  for (const LinkPath& path : link.paths) {
    if (path.is_open()) open |= 1u << path.ordinal;
  }
  return open;
}

bool Engine::is_last(const LinkPath& path) {
  const Link& link = *path.link;
  return std::none_of(link.paths.begin(), link.paths.end(),
                      [&](const LinkPath& other) { return &other != &path && other.is_open(); });
}

// Whatever still runs with this peer fails with its last Path; the quiet that the fence brings is
// what ends it.
void Engine::fail_requests(Link& link, const Status& why, int64_t now_ns) {
  link.path_why = why;
  for (const auto& grant : link.grants) grant->begin_cancel(why, now_ns);
  for (const auto& transfer : link.transfers) transfer->life.begin_cancel(why);
}

// ---- the fence

void Engine::fence_path(LinkPath& path, const Status& why, int64_t now_ns) {
  Link& link = *path.link;
  path.fence_wanted = false;
  path.fence_why = why;
  if (path.broken_seen_ns == 0) path.broken_seen_ns = now_ns;
  if (is_last(path)) fail_requests(link, why, now_ns);
  path.expected = false;
  if (path.channel == nullptr && path.opening == nullptr) {
    // The peer's bytes, if there are any, wait in a socket that nobody reads, or will.
    path.held.reset();
    if (link.up) send_or_drop(link, wire::Fence{path.plan.epoch});
    path_fenced(path, now_ns);
    return;
  }
  path.held.reset();
  if (path.opening != nullptr) {
    // Never connected, so nothing can have moved: it becomes a channel only to be fenced like any
    // other.
    const bool had_path = link.had_path;
    baton_path* opened = std::exchange(path.opening, nullptr);
    adopt_path(path, std::exchange(path.opening_rail, nullptr), opened);
    link.had_path = had_path;
  }
  note_fencing(path, why, now_ns);
  if (link.up) send_or_drop(link, wire::Fence{path.plan.epoch});
  path.channel->fence();
}

// What each slot has counted from this Path. From here on the slots count for its next one.
std::vector<wire::Fenced::Applied> Engine::snapshot(LinkPath& path) {
  std::vector<wire::Fenced::Applied> applied;
  for (const auto& grant : path.link->grants) {
    for (uint32_t i = 0; i < grant->num_layers; ++i) {
      const GrantState::Layer& layer = grant->layers[i];
      const uint64_t units = counters_->take_applied(layer.slot, path.ordinal);
      if (units > 0) applied.push_back({grant->id, i, layer.generation, units});
    }
  }
  if (base::mutant_is(base::Mutant::kFenceForgetsSlot) && !applied.empty()) applied.pop_back();
  return applied;
}

void Engine::path_fenced(LinkPath& path, int64_t now_ns) {
  Link& link = *path.link;
  note_fenced(path, now_ns);
  if (link.up) send_or_drop(link, wire::Fenced{path.plan.epoch, snapshot(path)});
  for (PullState* pull : link.pulls) pull->path_fenced(path.ordinal, path.broken_seen_ns);
  path.channel.reset();
  path.unopened = false;
  return_cookie(path);
  path.fenced_here = true;
  // Also what was opened since the fence began. Paths that are there still say it when they end:
  // the last of them may be waiting for news of the peer.
  if (!has_path(link)) fail_requests(link, path.fence_why, now_ns);
  if (base::mutant_is(base::Mutant::kRetryBeforeFence)) settle_path_death(path);
  if (path.fenced_there || !link.up) path_dead(path);
}

void Engine::path_dead(LinkPath& path) {
  path.fenced_here = false;
  settle_path_death(path);
  path.snapshot.clear();
  path.fenced_there = false;
  if (path.link->up) output_->path_gone(path.link->peer, path.ordinal);
}

void Engine::fence_arrived(Link& link, const wire::Fence& fence) {
  LinkPath* path = path_with(link, fence.epoch);
  if (path == nullptr) {
    // It never came to be here, and will not: the command that opens it would have come before
    // this.
    send_or_drop(link, wire::Fenced{fence.epoch, {}});
    return;
  }
  if (!path->is_there()) return;  // FENCED was said, or a refusal
  want_fence(*path, FenceCause::kPeerAsked);
  if (path->broken_why.empty()) path->broken_why = "the peer fenced it";
}

void Engine::fenced_arrived(Link& link, wire::Fenced& fenced) {
  LinkPath* path = path_with(link, fenced.epoch);
  if (path == nullptr || !(path->is_there() || path->fenced_here) || path->fenced_there) return;
  path->fenced_there = true;
  path->snapshot = std::move(fenced.applied);
  if (path->fenced_here) {
    path_dead(*path);
  } else {
    want_fence(*path, FenceCause::kPeerAsked);
  }
}

void Engine::look_after_path(Link& link, LinkPath& path, int64_t now_ns) {
  transfer::PathChannel* channel = path.channel.get();
  if (channel != nullptr && channel->state() == transfer::PathState::kFenced) {
    path_fenced(path, now_ns);
    return;
  }
  if (channel != nullptr && channel->state() == transfer::PathState::kFencing) return;
  const bool broken =
      path.unopened || (channel != nullptr && channel->state() == transfer::PathState::kBroken);
  if (broken && path.broken_seen_ns == 0) {
    path.broken_seen_ns = now_ns;
    if (!path.fence_cause.has_value()) path.fence_cause = FenceCause::kPathBroken;
    meters_of(path).set_phase(base::PathPhase::kBroken, now_ns);
  }
  if (broken && link.up && !path.fence_wanted && is_last(path)) {
    const int64_t until_ns = path.broken_seen_ns + kDeathNewsNs;
    if (now_ns < until_ns) {
      want_timer(until_ns);
      return;
    }
  }
  if (!broken && !path.fence_wanted) return;
  Status why = link.down_why;
  if (link.up) {
    why = Status(
        StatusCode::kPathLost,
        name_of(channel, link.peer) + " was lost: " +
            (path.broken_why.empty() ? "fenced for a request that did not end" : path.broken_why));
  }
  fence_path(path, why, now_ns);
}

void Engine::look_after_paths(Link& link, int64_t now_ns) {
  for (LinkPath& path : link.paths) {
    if (!path.is_there()) {
      path.fence_wanted = false;
      continue;
    }
    look_after_path(link, path, now_ns);
    if (path.is_open()) return_credits(path);
  }
  if (!link.up) {
    // Whatever was asked of a peer that is gone, and has no Path any more.
    if (!has_path(link)) fail_requests(link, link.down_why, now_ns);
    return;
  }
  open_held_paths(link);
  // A peer without a Path is of no use: when all that ran over it has ended on both sides, the
  // connection goes, too, and the next connect() starts afresh.
  const bool idle = link.grants.empty() && link.transfers.empty() && link.ended.empty();
  if (link.had_path && !has_path(link) && idle) {
    link.up = false;
    link.down_why = Status(StatusCode::kPathLost, "the path to the peer was lost");
    output_->drop_peer(link.peer, link.down_why);
  }
}

// ---- credits

void Engine::return_credits(LinkPath& path) {
  const uint32_t depth = path.channel->rail().capabilities().receive_depth;
  if (depth == 0 || path.immediates - path.returned < std::max(1u, depth / 2)) return;
  path.returned = path.immediates;
  send_or_drop(*path.link, wire::Credits{path.plan.epoch, path.returned});
}

void Engine::credits_arrived(Link& link, const wire::Credits& credits) {
  LinkPath* path = path_with(link, credits.epoch);
  if (path == nullptr || path->channel == nullptr) return;  // fenced meanwhile
  if (path->channel->return_credits(credits.returned)) return;
  output_->drop_peer(link.peer,
                     Status(StatusCode::kProtocolError,
                            path->channel->describe() + ": the peer returns " +
                                std::to_string(credits.returned) + " credits, which it has not"));
}

}  // namespace baton::handoff
