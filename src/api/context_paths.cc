// A peer's Path: chosen, asked for and answered on the control connection, opened on the data
// thread.
#include <algorithm>

#include "src/api/context_impl.h"

namespace baton::api {

// ---- control thread

void ContextImpl::begin_path(PeerId peer) {
  handoff::OpenAddressedPath open;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    PeerEntry& entry = peers_[peer];
    // Our order of rails decides; check_peer made sure that there is one in common.
    for (auto rail = rails_.rbegin(); rail != rails_.rend(); ++rail) {
      for (const auto& theirs : entry.info.describe.rails) {
        if (theirs.plugin != (*rail)->name()) continue;
        entry.local_rail = (*rail)->index();
        entry.remote_rail = theirs.rail;
      }
    }
    entry.epoch = PathEpoch(next_epoch_.fetch_add(1, std::memory_order_relaxed));
    open = {peer, entry.epoch, entry.local_rail, entry.remote_rail, false, {}};
  }
  if (!rails_[open.rail.value]->has(BATON_CAP_NEEDS_STREAM)) {
    pass_to_data(std::move(open));
    return;
  }
  Status sent = control_->send(peer, wire::PathRequest{open.epoch, open.rail, open.peer_rail, {}});
  if (!sent.is_ok()) control_->disconnect(peer, sent);
}

void ContextImpl::path_requested(PeerId peer, const wire::PathRequest& request) {
  wire::PathReply reply;
  reply.epoch = request.epoch;
  const uint16_t index = request.responder_rail.value;
  bool known = index < rails_.size();
  bool expected = false;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    PeerEntry& entry = found->second;
    // The dialer asks, once.
    expected = !entry.info.dialed_by_us && !std::exchange(entry.path_asked, true);
    if (expected) {
      entry.local_rail = request.responder_rail;
      entry.remote_rail = request.requester_rail;
      entry.epoch = request.epoch;
    }
    const auto& theirs = entry.info.describe.rails;
    known = known && std::any_of(theirs.begin(), theirs.end(), [&](const auto& rail) {
              return rail.rail == request.requester_rail && rail.plugin == rails_[index]->name();
            });
  }
  if (!expected) {
    control_->disconnect(
        peer, Status(StatusCode::kProtocolError, "a PathRequest that is not the dialer's first"));
    return;
  }
  if (!known) {
    reply.code = StatusCode::kMismatch;
    reply.error = "rail " + std::to_string(index) + " of " + options_.name +
                  " does not match the asker's rail";
  } else if (!rails_[index]->has(BATON_CAP_NEEDS_STREAM)) {
    pass_to_data(handoff::OpenAddressedPath{peer, request.epoch, request.responder_rail,
                                            request.requester_rail, true, request.address});
    return;
  } else {
    auto ticket = control_->expect_stream(peer, request.epoch);
    if (ticket.is_ok()) {
      reply.ticket = *ticket;
    } else {
      reply.code = ticket.code();
      reply.error = ticket.status().message();
    }
  }
  Status sent = control_->send(peer, reply);
  if (!sent.is_ok()) control_->disconnect(peer, sent);
}

void ContextImpl::path_replied(PeerId peer, const wire::PathReply& reply) {
  RailIndex rail;
  bool expected = false;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    PeerEntry& entry = found->second;
    rail = entry.local_rail;
    expected = entry.phase == PeerPhase::kOpeningPath && entry.epoch == reply.epoch &&
               entry.info.dialed_by_us && !std::exchange(entry.path_asked, true);
  }
  if (!expected) {
    control_->disconnect(
        peer, Status(StatusCode::kProtocolError, "a PathReply that answers no PathRequest"));
    return;
  }
  if (reply.code != StatusCode::kOk) {
    Status why(reply.code, "the peer opens no path: " + reply.error);
    path_ready(peer, why);
    control_->disconnect(peer, why);
    return;
  }
  if (rails_[rail.value]->has(BATON_CAP_NEEDS_STREAM)) {
    control_->open_stream(peer, reply.epoch, reply.ticket);
  } else {
    pass_to_data(handoff::ConnectPath{peer, reply.epoch, reply.address});
  }
}

void ContextImpl::on_stream(PeerId peer, PathEpoch epoch, base::UniqueFd stream) {
  RailIndex rail;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end() || found->second.epoch != epoch) return;
    rail = found->second.local_rail;
  }
  pass_to_data(handoff::OpenStreamPath{peer, epoch, rail, std::move(stream)});
}

void ContextImpl::on_stream_failed(PeerId peer, PathEpoch, const Status& why) {
  path_ready(peer, why);
  control_->disconnect(peer, why);
}

// ---- data thread, and the control thread when nothing could be opened

void ContextImpl::path_ready(PeerId peer, const Status& status) {
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto found = peers_.find(peer);
    if (found == peers_.end() || found->second.phase == PeerPhase::kFailed) return;
    found->second.phase = status.is_ok() ? PeerPhase::kReady : PeerPhase::kFailed;
    found->second.failure = status;
    found->second.reported = status.is_ok();
    if (found->second.reported) {
      // With the lock held: on_peer_down(), which finds `reported`, comes with kPeerDown after it.
      Event event;
      event.kind = EventKind::kPeerUp;
      event.peer = peer;
      emit(std::move(event));
    }
  }
  state_changed_.notify_all();
}

}  // namespace baton::api
