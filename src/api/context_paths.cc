// A peer's Paths: planned from both sides' rails, asked for and answered on the control connection,
// opened on the data thread, and, by the side that dialled, asked for again when they end.
#include <algorithm>

#include "src/api/context_impl.h"

namespace baton::api {

namespace {

// Until a Path that ended is asked for again (longer than the last one waits for news of the peer,
// so that who loses all at once hears of it): doubled with each failure in a row, up to the second.
constexpr int64_t kReopenNs = 300'000'000;
constexpr int64_t kReopenMaxNs = 5'000'000'000;

int64_t back_off_ns(uint32_t failures) {
  return std::min(kReopenMaxNs, kReopenNs << std::min(failures, 6u));
}

}  // namespace

// ---- control thread

// Our order of rails decides which transport it is; check_peer made sure that there is one in
// common. Our rails of it and the peer's are paired in order, and take turns until each has the
// Paths that its options ask for.
void ContextImpl::plan_paths(PeerEntry& entry) {
  const auto& theirs = entry.info.describe.rails;
  const auto is_common = [&](const auto& rail) {
    return std::any_of(theirs.begin(), theirs.end(),
                       [&](const auto& other) { return other.plugin == rail->name(); });
  };
  const auto first = std::find_if(rails_.begin(), rails_.end(), is_common);
  if (first == rails_.end()) return;
  std::vector<const wire::RailDescription*> remote;
  for (const auto& other : theirs) {
    if (other.plugin == (*first)->name()) remote.push_back(&other);
  }
  uint32_t most = 0;
  for (const RailOptions& rail : options_.rails) most = std::max(most, rail.paths);
  uint32_t ordinal = 0;
  for (uint32_t round = 0; round < most; ++round) {
    size_t pair = 0;
    for (const auto& rail : rails_) {
      if (rail->name() != (*first)->name()) continue;
      const wire::RailDescription& other = *remote[pair++ % remote.size()];
      if (round >= options_.rails[rail->index().value].paths || ordinal == entry.paths.size())
        continue;
      PeerPath& path = entry.paths[ordinal];
      path.is_wanted = true;
      path.plan = {PathEpoch(), ordinal++, rail->index(), other.rail, other.receive_depth};
    }
  }
  entry.local_rail = entry.paths[0].plan.rail;
  entry.remote_rail = entry.paths[0].plan.peer_rail;
  entry.paths_due = ordinal;
}

void ContextImpl::begin_paths(PeerId peer) {
  uint32_t count = 0;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    PeerEntry& entry = peers_[peer];
    plan_paths(entry);
    count = entry.paths_due;
  }
  for (uint32_t ordinal = 0; ordinal < count; ++ordinal) begin_path(peer, ordinal);
}

void ContextImpl::begin_path(PeerId peer, uint32_t ordinal) {
  handoff::PathPlan plan;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    PeerPath& path = found->second.paths[ordinal];
    path.plan.epoch = PathEpoch(next_epoch_.fetch_add(1, std::memory_order_relaxed));
    path.phase = PathPhase::kAsked;
    path.is_answered = false;
    path.retry_ns = 0;
    plan = path.plan;
  }
  if (!rails_[plan.rail.value]->has(BATON_CAP_NEEDS_STREAM)) {
    pass_to_data(handoff::OpenAddressedPath{peer, plan, false, {}});
    return;
  }
  pass_to_data(handoff::ExpectPath{peer, plan, nullptr});
  Status sent = control_->send(
      peer, wire::PathRequest{plan.epoch, plan.rail, plan.peer_rail, {}, plan.ordinal});
  if (!sent.is_ok()) control_->disconnect(peer, sent);
}

// What the peer asks for; a failure with kOk: it broke no rule, and may ask again.
Status ContextImpl::take_path_request(PeerEntry& entry, const wire::PathRequest& request,
                                      wire::PathReply* reply, handoff::PathPlan* plan) {
  PeerPath& path = entry.paths[request.ordinal];
  const bool is_idle = path.phase == PathPhase::kIdle;
  if (entry.info.dialed_by_us || (!is_idle && !path.ended_there) ||
      request.epoch.value <= entry.last_epoch) {
    return Status(
        StatusCode::kProtocolError,
        "a PathRequest that is not the dialer's first of path " + std::to_string(request.ordinal));
  }
  entry.last_epoch = request.epoch.value;
  if (!is_idle) {
    reply->code = StatusCode::kBusy;
    reply->error = "path " + std::to_string(request.ordinal) + " is not fenced here yet";
    return Status::ok();
  }
  const uint16_t index = request.responder_rail.value;
  const auto& theirs = entry.info.describe.rails;
  const auto rail = std::find_if(theirs.begin(), theirs.end(), [&](const auto& one) {
    return one.rail == request.requester_rail;
  });
  if (index >= rails_.size() || rail == theirs.end() || rail->plugin != rails_[index]->name()) {
    reply->code = StatusCode::kMismatch;
    reply->error = "rail " + std::to_string(index) + " of " + options_.name +
                   " does not match the asker's rail";
    return Status::ok();
  }
  if (!entry.has_rail) {
    entry.has_rail = true;
    entry.local_rail = request.responder_rail;
    entry.remote_rail = request.requester_rail;
  }
  path.phase = PathPhase::kAsked;
  path.ended_there = false;
  path.plan = {request.epoch, request.ordinal, request.responder_rail, request.requester_rail,
               rail->receive_depth};
  *plan = path.plan;
  return Status::ok();
}

void ContextImpl::path_requested(PeerId peer, const wire::PathRequest& request) {
  wire::PathReply reply;
  reply.epoch = request.epoch;
  handoff::PathPlan plan;
  Status taken;
  // Before its first Path is open a peer has no Grant whose end could be behind the reply: it does
  // not wait for who drives the data path.
  bool is_first = false;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    is_first = found->second.phase == PeerPhase::kOpeningPath;
    taken = take_path_request(found->second, request, &reply, &plan);
  }
  if (!taken.is_ok()) {
    control_->disconnect(peer, taken);
    return;
  }
  if (reply.code == StatusCode::kOk && !rails_[plan.rail.value]->has(BATON_CAP_NEEDS_STREAM)) {
    pass_to_data(handoff::OpenAddressedPath{peer, plan, true, request.address});
    return;
  }
  if (reply.code == StatusCode::kOk) {
    auto ticket = control_->expect_stream(peer, request.epoch);
    if (ticket.is_ok()) {
      reply.ticket = *ticket;
      if (!is_first) {
        pass_to_data(handoff::ExpectPath{peer, plan, std::make_unique<wire::PathReply>(reply)});
        return;
      }
      pass_to_data(handoff::ExpectPath{peer, plan, nullptr});
    } else {
      reply.code = ticket.code();
      reply.error = ticket.status().message();
      path_ready(peer, request.ordinal, ticket.status());
    }
  }
  Status sent = control_->send(peer, reply);
  if (!sent.is_ok()) control_->disconnect(peer, sent);
}

void ContextImpl::path_replied(PeerId peer, const wire::PathReply& reply) {
  handoff::PathPlan plan;
  bool expected = false;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    PeerPath* path = found->second.path_with(reply.epoch);
    expected = path != nullptr && path->phase == PathPhase::kAsked &&
               found->second.info.dialed_by_us && !std::exchange(path->is_answered, true);
    if (expected) plan = path->plan;
  }
  if (!expected) {
    control_->disconnect(
        peer, Status(StatusCode::kProtocolError, "a PathReply that answers no PathRequest"));
    return;
  }
  const bool is_stream = rails_[plan.rail.value]->has(BATON_CAP_NEEDS_STREAM);
  if (reply.code != StatusCode::kOk) {
    pass_to_data(handoff::AbandonPath{peer, reply.epoch});
    path_ready(peer, plan.ordinal, Status(reply.code, "the peer opens no path: " + reply.error));
  } else if (is_stream) {
    control_->open_stream(peer, reply.epoch, reply.ticket);
  } else {
    pass_to_data(handoff::ConnectPath{peer, reply.epoch, reply.address});
  }
}

void ContextImpl::on_stream(PeerId peer, PathEpoch epoch, base::UniqueFd stream) {
  handoff::OpenStreamPath open;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    const PeerPath* path = found == peers_.end() ? nullptr : found->second.path_with(epoch);
    if (path == nullptr || path->phase != PathPhase::kAsked) return;
    open = {peer, path->plan, std::move(stream)};
  }
  pass_to_data(std::move(open));
}

void ContextImpl::on_stream_failed(PeerId peer, PathEpoch epoch, const Status& why) {
  pass_to_data(handoff::AbandonPath{peer, epoch, why});
}

int64_t ContextImpl::reopen_paths(int64_t now_ns) {
  int64_t next_ns = INT64_MAX;
  std::vector<std::pair<PeerId, uint32_t>> due;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    for (auto& [peer, entry] : peers_) {
      if (entry.phase != PeerPhase::kReady) continue;
      for (const PeerPath& path : entry.paths) {
        if (path.retry_ns == 0) continue;
        if (now_ns >= path.retry_ns) {
          due.emplace_back(peer, path.plan.ordinal);
        } else {
          next_ns = std::min(next_ns, path.retry_ns);
        }
      }
    }
  }
  for (const auto& [peer, ordinal] : due) begin_path(peer, ordinal);
  return next_ns;
}

// ---- data thread, and the control thread when nothing could be opened

bool ContextImpl::note_path(PeerEntry& entry, uint32_t ordinal, const Status& status,
                            bool is_fenced) {
  PeerPath& path = entry.paths[ordinal];
  if (status.is_ok()) {
    path.phase = PathPhase::kOpen;
    path.failures = 0;
  } else if (is_fenced) {
    path.phase = PathPhase::kUnopened;
    ++path.failures;
  } else {
    path.phase = PathPhase::kIdle;
    if (path.is_wanted) path.retry_ns = clock_.now_ns() + back_off_ns(path.failures++);
  }
  if (entry.phase != PeerPhase::kOpeningPath) return false;
  if (entry.paths_due > 0) --entry.paths_due;
  if (entry.failure.is_ok()) entry.failure = status;
  if (entry.paths_due > 0) return false;
  const auto any_is = [&entry](PathPhase phase) {
    return std::any_of(entry.paths.begin(), entry.paths.end(),
                       [phase](const PeerPath& one) { return one.phase == phase; });
  };
  const bool any = any_is(PathPhase::kOpen);
  if (!any && any_is(PathPhase::kAsked)) return false;  // who was dialled: the next one may do
  entry.phase = any ? PeerPhase::kReady : PeerPhase::kFailed;
  if (any) entry.failure = Status::ok();
  return true;
}

void ContextImpl::path_ready(PeerId peer, uint32_t ordinal, const Status& status) {
  report_path(peer, ordinal, status, false);
}

void ContextImpl::path_unopened(PeerId peer, uint32_t ordinal, const Status& status) {
  report_path(peer, ordinal, status, true);
}

// `is_fenced`: path_gone() says when it may be asked for again.
void ContextImpl::report_path(PeerId peer, uint32_t ordinal, const Status& status, bool is_fenced) {
  Status failed;
  int64_t retry_ns = 0;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end() || found->second.phase == PeerPhase::kFailed) return;
    PeerEntry& entry = found->second;
    if (note_path(entry, ordinal, status, is_fenced)) {
      failed = entry.failure;
      entry.reported = failed.is_ok();
      if (entry.reported) {
        // With the lock held: on_peer_down(), which finds `reported`, comes with kPeerDown after
        // it.
        Event event;
        event.kind = EventKind::kPeerUp;
        event.peer = peer;
        emit(std::move(event));
      }
    }
    retry_ns = entry.paths[ordinal].retry_ns;
  }
  if (!failed.is_ok()) {
    control_->disconnect(peer, failed);
  } else if (retry_ns != 0) {
    control_->set_alarm(retry_ns);
  }
  state_changed_.notify_all();
}

void ContextImpl::path_gone(PeerId peer, uint32_t ordinal) {
  int64_t retry_ns = 0;
  bool is_unreported = false;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    PeerPath& path = found->second.paths[ordinal];
    is_unreported = path.phase == PathPhase::kAsked;
    path.phase = PathPhase::kIdle;
    path.ended_there = false;
    const bool is_wanted = path.is_wanted && !closing_.load(std::memory_order_acquire);
    if (!is_unreported && is_wanted) {
      retry_ns = clock_.now_ns() + back_off_ns(path.failures);
      path.retry_ns = retry_ns;
    }
  }
  if (is_unreported) {
    path_ready(peer, ordinal,
               Status(StatusCode::kPathLost,
                      "path " + std::to_string(ordinal) + " was fenced before it was open"));
  } else if (retry_ns != 0) {
    control_->set_alarm(retry_ns);
  }
}

}  // namespace baton::api
