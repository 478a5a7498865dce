// Life and end of a peer.
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>

#include "src/base/assert.h"
#include "src/base/random.h"
#include "src/control/control_plane_impl.h"

namespace baton::control {

namespace {

constexpr int64_t kMillisecond = 1'000'000;

bool is_hello_message(const wire::Message& message) {
  return std::holds_alternative<wire::Hello>(message) ||
         std::holds_alternative<wire::Welcome>(message) ||
         std::holds_alternative<wire::Describe>(message) ||
         std::holds_alternative<wire::Confirm>(message);
}

// What only an observer may say, or be told.
bool is_observers_message(const wire::Message& message) {
  return std::holds_alternative<wire::StateRequest>(message) ||
         std::holds_alternative<wire::StateReply>(message);
}

}  // namespace

Status ControlPlaneImpl::queue(Link& link, const wire::Message& message) {
  auto frame = wire::encode(message);
  if (!frame.is_ok()) return frame.status();
  link.queue(std::move(frame).value());
  output_waits_ = true;
  return Status::ok();
}

void ControlPlaneImpl::peer_up(Link& link) {
  const int64_t now_ns = clock_.now_ns();
  link.stage = Stage::kUp;
  link.deadline_ns = INT64_MAX;
  link.info.remote_address = link.remote.text();
  link.info.authenticated = link.authenticated;
  // The first heartbeat at once: leases begin with its echo.
  link.beats.beat_due = true;
  link.beats.next_ns = now_ns + int64_t{options_.heartbeat_interval_ms} * kMillisecond;
  link.beats.last_received_ns = now_ns;
  want_timer(link.beats.next_ns);
  output_waits_ = true;
  for (Frame& frame : link.deferred) link.queue(std::move(frame));
  link.deferred.clear();
  {
    const std::lock_guard lock(mutex_);
    outboxes_.emplace(link.peer, link.outbox);
  }
  logger_.info("\"{}\" is connected to \"{}\" at {} ({})", options_.name, link.info.name,
               link.info.remote_address,
               link.authenticated ? "authenticated" : "not authenticated");
  handler_->on_peer_up(link.peer, link.info);
  for (const PeerId dial : std::exchange(link.joiners, {}))
    handler_->on_dial_joined(dial, link.peer);
  decide_held(link.id);
}

// Ends a link whose connection is of no more use.
void ControlPlaneImpl::fail(Link& link, const Status& why) {
  if (!link.is_open) return;
  if (link.is_stream()) {
    fail_stream(link, why);
    return;
  }
  Status told = why;
  const bool proof_failed = why.code() == StatusCode::kPermissionDenied && !link.is_known();
  if (link.is_dialer && proof_failed && link.stage == Stage::kTls) {
    told = Status(
        StatusCode::kPermissionDenied,
        "\"" + options_.name + "\" and \"" + link.target.name + "\" at " + link.remote.text() +
            " could not prove the same secret to each other: give both the same secret file (" +
            why.message() + ")");
  } else if (link.is_dialer && !link.is_known() && !link.is_ended &&
             why.code() != StatusCode::kUnavailable && link.stage != Stage::kHello) {
    told = Status(why.code(), "dial of \"" + link.target.name + "\": " + why.message());
  } else if (!link.is_dialer && !link.is_known() && !link.is_ended) {
    logger_.log(proof_failed ? LogLevel::kWarning : LogLevel::kDebug, "\"{}\" dropped {}: {}",
                options_.name, link.remote.text(), why.to_string());
  }
  const bool tell_peer = link.is_known() && why.code() != StatusCode::kPeerLost;
  if (tell_peer) queue(link, wire::Goodbye{told.code(), told.message()}).ignore();
  if (link.stage == Stage::kUp && why.code() == StatusCode::kPeerLost && !link.took_leave)
    handler_->on_peer_lost_after(link.peer, clock_.now_ns() - link.beats.last_received_ns);
  end_peer(link, told);
  if (link.fd && link.has_output() && why.code() != StatusCode::kPeerLost) {
    linger(link);
  } else {
    drop(link);
  }
}

void ControlPlaneImpl::close_politely(Link& link, const Status& why) {
  if (link.is_known()) queue(link, wire::Goodbye{why.code(), why.message()}).ignore();
  end_peer(link, why);
  linger(link);
}

// Reports the end of the peer, or of the dial, once.
void ControlPlaneImpl::end_peer(Link& link, const Status& why) {
  if (std::exchange(link.is_ended, true)) return;
  const bool was_up = link.stage == Stage::kUp;
  link.stage = Stage::kClosing;
  if (link.peer) by_peer_.erase(link.peer);
  if (was_up) {
    {
      const std::lock_guard lock(mutex_);
      outboxes_.erase(link.peer);
    }
    forget_tickets(link.peer);
    logger_.info("\"{}\" lost \"{}\" at {}: {}", options_.name, link.info.name,
                 link.info.remote_address, why.to_string());
    handler_->on_peer_down(link.peer, why);
  } else if (link.is_dialer) {
    handler_->on_dial_failed(link.peer, why);
  } else if (link.peer) {
    logger_.warning("\"{}\" gave up the connection of \"{}\" ({}): {}", options_.name,
                    link.info.name, link.remote.text(), why.to_string());
  }
  for (const PeerId dial : std::exchange(link.joiners, {})) handler_->on_dial_failed(dial, why);
  decide_held(link.id);
}

// Lets the last bytes leave, then the other side close. REQUIRES: it is ended.
void ControlPlaneImpl::linger(Link& link) {
  if (!link.fd) {
    drop(link);
    return;
  }
  link.stage = Stage::kClosing;
  resume_reading(link);
  output_waits_ = true;
  set_deadline(link, options_.limits.goodbye_timeout_ms);
}

void ControlPlaneImpl::drop(Link& link) {
  // Closing takes it out of epoll, too.
  link.fd.reset();
  link.is_open = false;
}

Status ControlPlaneImpl::on_peer_message(Link& link, wire::Message& message) {
  if (const auto* beat = std::get_if<wire::Heartbeat>(&message)) return on_heartbeat(link, *beat);
  if (const auto* goodbye = std::get_if<wire::Goodbye>(&message)) {
    link.took_leave = true;
    return said_goodbye(link, *goodbye);
  }
  if (is_hello_message(message)) {
    return Status(StatusCode::kProtocolError,
                  std::string(wire::message_name(message)) + " after the hello");
  }
  if (is_observers_message(message)) {
    return Status(StatusCode::kProtocolError,
                  std::string(wire::message_name(message)) + " of a peer");
  }
  handler_->on_message(link.peer, std::move(message));
  return Status::ok();
}

Status ControlPlaneImpl::said_goodbye(const Link& link, const wire::Goodbye& goodbye) const {
  const StatusCode code = goodbye.code == StatusCode::kOk ? StatusCode::kPeerLost : goodbye.code;
  return Status(code, "\"" + link.info.name + "\" at " + link.remote.text() +
                          " ended the connection: " + goodbye.reason);
}

Status ControlPlaneImpl::on_heartbeat(Link& link, const wire::Heartbeat& beat) {
  Heartbeats& beats = link.beats;
  if (beat.seq != 0) {
    if (beat.seq <= beats.their_seq) {
      return Status(StatusCode::kProtocolError, "heartbeat " + std::to_string(beat.seq) +
                                                    " after " + std::to_string(beats.their_seq));
    }
    beats.their_seq = beat.seq;
    beats.echo_due = true;
  }
  if (beat.probe != 0) {
    beats.probe_echo = beat.probe;
    beats.echo_due = true;
  }
  output_waits_ = output_waits_ || beats.echo_due;
  if (beat.echo > beats.sent_seq) {
    return Status(StatusCode::kProtocolError,
                  "echo of heartbeat " + std::to_string(beat.echo) + ", which was never sent");
  }
  if (beat.echo > beats.echoed_seq) {
    beats.echoed_seq = beat.echo;
    int64_t sent_ns = 0;
    while (!beats.sent.empty() && beats.sent.front().first <= beat.echo) {
      if (beats.sent.front().first == beat.echo) sent_ns = beats.sent.front().second;
      beats.sent.pop_front();
    }
    // Nothing when it is so old that its time was forgotten: a lease is then shorter than it could
    // be.
    if (sent_ns != 0) handler_->on_heartbeat_echo(link.peer, sent_ns);
  }
  if (beat.probe_echo == 0 || beat.probe_echo != beats.probe) return Status::ok();
  beats.probe = 0;
  const Status taken(StatusCode::kAddressInUse,
                     "\"" + link.info.name + "\" is alive at " + link.remote.text() +
                         " and keeps its name; give the new process another one");
  for (auto& [id, held] : links_) {
    if (!held->is_open || held->stage != Stage::kHeld || held->waits_for != link.id) continue;
    if (held->is_dialer) {
      fail(*held, taken);
    } else {
      refuse_hello(*held, taken, 0);
    }
  }
  return Status::ok();
}

void ControlPlaneImpl::start_probe(Link& link) {
  if (link.beats.probe != 0) return;
  std::array<uint8_t, 8> bytes{};
  base::secure_random_bytes(bytes);
  std::memcpy(&link.beats.probe, bytes.data(), bytes.size());
  link.beats.probe |= 1;  // 0 means none
  link.beats.probe_due = link.beats.probe;
  link.beats.beat_due = true;
  output_waits_ = true;
}

void ControlPlaneImpl::peer_timer(Link& link, int64_t now_ns) {
  const int64_t dead_ns = int64_t{options_.dead_after_ms} * kMillisecond;
  // When this thread was the one that did not run, the peer's bytes are waiting in the socket.
  if (now_ns - link.beats.last_received_ns >= dead_ns) on_readable(link);
  if (!link.is_open || link.stage != Stage::kUp) return;
  // Whose messages wait for this thread's next turn is not silent.
  if (now_ns - link.beats.last_received_ns >= dead_ns && !link.frames_wait) {
    fail(link, Status(StatusCode::kPeerLost, "\"" + link.info.name + "\" at " + link.remote.text() +
                                                 " was silent for " +
                                                 std::to_string(options_.dead_after_ms) + " ms"));
    return;
  }
  if (now_ns >= link.beats.next_ns) {
    link.beats.beat_due = true;
    link.beats.next_ns = now_ns + int64_t{options_.heartbeat_interval_ms} * kMillisecond;
    output_waits_ = true;
  }
  want_timer(std::min(link.beats.next_ns, link.beats.last_received_ns + dead_ns));
}

}  // namespace baton::control
