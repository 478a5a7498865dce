// connect(): calls that wait for a peer. Several may wait for one, each as long as it wants to.
#include <chrono>

#include "src/api/context_impl.h"

namespace baton::api {

namespace {

constexpr int64_t kMsNs = 1'000'000;

}  // namespace

Result<PeerId> ContextImpl::connect(std::string_view address, uint32_t timeout_ms) {
  BATON_RETURN_IF_ERROR(check_open());
  const uint32_t limit_ms = timeout_ms == 0 ? options_.connect_timeout_ms : timeout_ms;
  const int64_t deadline_ns = clock_.now_ns() + int64_t{limit_ms} * kMsNs;
  auto dialed = control_->dial(address);
  if (!dialed.is_ok()) return dialed.status();
  PeerId peer = *dialed;
  {
    // The result may have come already: only what is missing is added.
    const std::lock_guard<std::mutex> lock(state_mutex_);
    peers_.try_emplace(peer);
  }
  std::optional<Status> result = wait_peer(&peer, deadline_ns);
  const Status late(StatusCode::kDeadlineExceeded, "connecting to " + std::string(address) +
                                                       ": not ready within " +
                                                       std::to_string(limit_ms) + " ms");
  stop_waiting(*dialed, peer, late);
  if (!result.has_value()) return late;
  if (!result->is_ok()) return *result;
  return peer;
}

Result<PeerId> ContextImpl::begin_connect(std::string_view address) {
  BATON_RETURN_IF_ERROR(check_open());
  auto dialed = control_->dial(address);
  if (!dialed.is_ok()) return dialed;
  const std::lock_guard<std::mutex> lock(state_mutex_);
  peers_[*dialed].dialer_waits = false;
  return dialed;
}

std::optional<Status> ContextImpl::wait_peer(PeerId* peer, int64_t deadline_ns) {
  std::optional<Status> result;
  const auto look = [&] {  // REQUIRES: state_mutex_ held
    auto found = peers_.find(*peer);
    if (found != peers_.end() && found->second.joined) {
      const PeerId dialed = *peer;
      *peer = found->second.joined;
      peers_.erase(dialed);
      found = peers_.find(*peer);
    }
    if (found == peers_.end()) {
      result = Status(StatusCode::kPeerLost, "peer " + std::to_string(peer->value) +
                                                 " was lost while it was being connected");
      return true;
    }
    if (found->second.phase == PeerPhase::kFailed) {
      result = found->second.failure;
      return true;
    }
    if (found->second.phase != PeerPhase::kReady) return false;
    result = Status::ok();
    return true;
  };
  wait_until(
      deadline_ns,
      [&] {
        const std::lock_guard<std::mutex> lock(state_mutex_);
        return look();
      },
      [&](int64_t until_ns) {
        std::unique_lock<std::mutex> lock(state_mutex_);
        const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(until_ns)};
        state_changed_.wait_until(lock, until, look);
      });
  return result;
}

// What nobody else waits for ends with it: a dial, or a connection that it made and that is not
// ready. What others wait for, or what the peer made, goes on.
void ContextImpl::stop_waiting(PeerId dialed, PeerId peer, const Status& why) {
  PeerPhase phase = PeerPhase::kFailed;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    // It may have been joined since the caller looked last.
    const auto own = peers_.find(dialed);
    if (own != peers_.end() && own->second.joined) {
      peer = own->second.joined;
      peers_.erase(own);
    }
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return;
    PeerEntry& entry = found->second;
    phase = entry.phase;
    if (peer == dialed) {
      entry.dialer_waits = false;
    } else {
      --entry.joiners;
    }
    if (phase == PeerPhase::kFailed) {
      if (!entry.is_awaited()) peers_.erase(found);
      return;
    }
    if (peer != dialed || entry.is_awaited()) return;
  }
  // By their phases: a dial that has come up meanwhile may have been joined.
  if (phase == PeerPhase::kDialling) control_->abandon_dial(peer, why);
  if (phase == PeerPhase::kOpeningPath) control_->disconnect(peer, why);
}

void ContextImpl::on_dial_failed(PeerId peer, const Status& why) {
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    PeerEntry& entry = peers_[peer];
    entry.phase = PeerPhase::kFailed;
    entry.failure = why;
    if (!entry.is_awaited()) peers_.erase(peer);
  }
  state_changed_.notify_all();
}

void ContextImpl::on_dial_joined(PeerId dialed, PeerId existing) {
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto entry = peers_.try_emplace(dialed).first;
    entry->second.joined = existing;
    if (entry->second.is_awaited()) {
      // It was up, so it had an entry; without one it has gone since, which the joiner will see.
      if (const auto found = peers_.find(existing); found != peers_.end()) ++found->second.joiners;
    } else {
      peers_.erase(entry);
    }
  }
  state_changed_.notify_all();
}

}  // namespace baton::api
