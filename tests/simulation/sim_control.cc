// One member's end of the simulated control network: its life. The hello is in sim_hello.cc.
#include <algorithm>
#include <cstring>

#include "tests/simulation/message_text.h"
#include "tests/simulation/sim_later.h"
#include "tests/simulation/sim_network.h"

namespace baton_test {

using baton::PeerId;
using baton::Result;
using baton::Status;
using baton::StatusCode;
namespace wire = baton::wire;

namespace {

constexpr int64_t kMsNs = 1'000'000;

}  // namespace

SimControl::SimControl(SimNetwork& network, Member member, baton::control::ControlOptions options,
                       baton::control::ControlHandler* handler)
    : network_(network),
      member_(std::move(member)),
      options_(std::move(options)),
      handler_(handler),
      address_("baton://sim/" + options_.name) {
  world().random().fill(boot_id_);
}

SimControl::~SimControl() { stop(); }

Status SimControl::begin() {
  is_running_ = true;
  network_.add(this);
  return Status::ok();
}

std::vector<SimEnd*> SimControl::own_ends() {
  std::vector<SimEnd*> own;
  for (auto& [number, end] : network_.ends()) {
    if (end.owner == this) own.push_back(&end);
  }
  return own;
}

SimEnd* SimControl::end_of(PeerId peer) {
  for (SimEnd* end : own_ends()) {
    if (end->peer == peer && end->stage != Stage::kClosed) return end;
  }
  return nullptr;
}

void SimControl::queue(SimEnd& end, const wire::Message& message) {
  auto frame = wire::encode(message);
  network_.count(wire::message_name(message));
  if (world().is_tracing()) {
    world().tell(member(), "sends to " + (end.is_dialer ? end.target : end.hello.name) + ": " +
                               message_text(message));
  }
  if (frame.is_ok()) network_.transmit(end, std::move(*frame));
}

Status SimControl::send(PeerId peer, const wire::Message& message) {
  auto frame = wire::encode(message);
  if (!frame.is_ok()) return frame.status();
  if (!is_running_) return Status(StatusCode::kFailedPrecondition, "\"" + name() + "\" is stopped");
  SimEnd* end = end_of(peer);
  if (end == nullptr || end->stage != Stage::kUp)
    return Status(StatusCode::kNotFound,
                  "peer " + std::to_string(peer.value) + " is not connected");
  queue(*end, message);
  return Status::ok();
}

Status SimControl::broadcast(const wire::Message& message) {
  auto frame = wire::encode(message);
  if (!frame.is_ok()) return frame.status();
  for (SimEnd* end : own_ends()) {
    if (end->stage == Stage::kUp) {
      queue(*end, message);
    } else if (end->is_described && end->stage != Stage::kClosed) {
      end->deferred.push_back(*frame);
    }
  }
  return Status::ok();
}

void SimControl::disconnect(PeerId peer, const Status& why) {
  const SimEnd* end = end_of(peer);
  if (end == nullptr) return;
  later(world().now_ns(), false, end->number, [this, why](SimEnd& one) { leave(one, why); });
}

Result<wire::StreamTicket> SimControl::expect_stream(PeerId, baton::PathEpoch) {
  return Status(StatusCode::kUnavailable, "a simulation has no streams");
}

void SimControl::open_stream(PeerId, baton::PathEpoch, const wire::StreamTicket&) {}

// ---- time

void SimControl::set_alarm(int64_t at_ns) {
  if (at_ns >= alarm_ns_) return;
  alarm_ns_ = at_ns;
  member_.at(member_.clock->world_ns(at_ns), true, [this, alive = alive_] {
    if (*alive && is_running_) alarm();
  });
}

void SimControl::alarm() {
  const int64_t now_ns = member_.clock->now_ns();
  if (now_ns < alarm_ns_) return;  // set for later meanwhile, and another timer runs for that
  alarm_ns_ = INT64_MAX;
  const int64_t next_ns = handler_->on_alarm(now_ns);
  if (next_ns != INT64_MAX) set_alarm(next_ns);
  member_.wake();
}

void SimControl::set_timer(SimEnd& end) {
  const int64_t dead_ns = int64_t{options_.dead_after_ms} * kMsNs;
  const int64_t at_ns = std::min(end.next_beat_ns, end.last_received_ns + dead_ns);
  const uint32_t timer = ++end.timer;
  later(member_.clock->world_ns(at_ns), true, end.number, [this, timer](SimEnd& one) {
    if (one.timer == timer) beat_or_die(one);
  });
}

void SimControl::beat_or_die(SimEnd& end) {
  if (end.stage != Stage::kUp) return;
  const int64_t now_ns = member_.clock->now_ns();
  if (now_ns - end.last_received_ns >= int64_t{options_.dead_after_ms} * kMsNs) {
    fail(end, Status(StatusCode::kPeerLost, "\"" + end.info.name + "\" was silent for " +
                                                std::to_string(options_.dead_after_ms) + " ms"));
    return;
  }
  if (now_ns >= end.next_beat_ns) {
    end.next_beat_ns = now_ns + int64_t{options_.heartbeat_interval_ms} * kMsNs;
    end.beats[++end.sent_seq] = now_ns;
    queue(end, wire::Heartbeat{end.sent_seq, end.their_seq, end.probe, 0});
  }
  set_timer(end);
}

void SimControl::look_at_timers() {
  if (!is_running_) return;
  for (const SimEnd* end : own_ends()) {
    later(world().now_ns(), true, end->number, [this](SimEnd& one) { beat_or_die(one); });
  }
  member_.at(world().now_ns(), true, [this, alive = alive_] {
    if (*alive && is_running_) alarm();
  });
}

void SimControl::on_heartbeat(SimEnd& end, const wire::Heartbeat& beat) {
  if (beat.seq != 0 || beat.probe != 0) {
    end.their_seq = std::max(end.their_seq, beat.seq);
    queue(end, wire::Heartbeat{0, end.their_seq, 0, beat.probe});
  }
  const auto echoed = end.beats.find(beat.echo);
  if (echoed != end.beats.end()) {
    const int64_t sent_ns = echoed->second;
    end.beats.erase(end.beats.begin(), std::next(echoed));
    handler_->on_heartbeat_echo(end.peer, sent_ns);
  }
  if (beat.probe_echo == 0 || beat.probe_echo != end.probe) return;
  end.probe = 0;
  const Status taken(StatusCode::kAddressInUse,
                     "\"" + end.info.name + "\" is alive and keeps its name");
  for (SimEnd* held : own_ends()) {
    if (held->stage == Stage::kHeld && held->waits_for == end.number) refuse(*held, taken, 0);
  }
}

// ---- the end

void SimControl::end_peer(SimEnd& end, const Status& why) {
  const bool was_up = end.stage == Stage::kUp;
  if (end.stage == Stage::kClosed) return;
  end.stage = Stage::kClosed;
  world().note(member(), was_up ? "peer down" : "connection failed", end.peer.value,
               static_cast<uint64_t>(why.code()));
  if (world().is_tracing()) world().tell(member(), "  " + why.to_string());
  if (was_up) {
    handler_->on_peer_down(end.peer, why);
  } else if (end.is_dialer) {
    handler_->on_dial_failed(end.peer, why);
  }
  for (const PeerId dial : std::exchange(end.joiners, {})) handler_->on_dial_failed(dial, why);
  member_.wake();
}

void SimControl::close_end(SimEnd& end) {
  const uint32_t number = end.number;
  network_.transmit(end, {});
  network_.drop_end(number);
  decide_held(number);
}

void SimControl::fail(SimEnd& end, const Status& why) {
  if (end.is_known && why.code() != StatusCode::kPeerLost)
    queue(end, wire::Goodbye{why.code(), why.message()});
  end_peer(end, why);
  close_end(end);
}

void SimControl::leave(SimEnd& end, const Status& why) {
  if (end.is_known) queue(end, wire::Goodbye{why.code(), why.message()});
  end_peer(end, why);
  close_end(end);
}

void SimControl::stop() {
  if (!std::exchange(is_running_, false)) return;
  *alive_ = false;
  network_.remove(this);
  for (SimEnd* end : own_ends()) {
    if (end->is_known) queue(*end, wire::Goodbye{StatusCode::kOk, "it shut down"});
    end->stage = Stage::kClosed;
    network_.transmit(*end, {});
    network_.drop_end(end->number);
  }
}

void SimControl::kill(bool is_told) {
  if (!std::exchange(is_running_, false)) return;
  *alive_ = false;
  network_.remove(this);
  for (SimEnd* end : own_ends()) {
    if (is_told) network_.transmit(*end, {});
    network_.drop_end(end->number);
  }
}

// ---- what arrives

void SimControl::frame_arrived(uint32_t number, const std::vector<uint8_t>& frame) {
  SimEnd* end = network_.find(number);
  if (!is_running_ || end == nullptr || end->stage == Stage::kClosed) return;
  end->last_received_ns = member_.clock->now_ns();
  if (frame.empty()) {
    fail(*end, Status(StatusCode::kPeerLost, "the other side closed the connection"));
    return;
  }
  auto decoded = wire::decode(std::span(frame).subspan(sizeof(uint32_t)));
  if (!decoded.is_ok()) {
    fail(*end, decoded.status());
    return;
  }
  wire::Message& message = *decoded;
  world().note(member(), wire::message_name(message), number);
  if (world().is_tracing()) world().tell(member(), "hears " + message_text(message));
  if (const auto* goodbye = std::get_if<wire::Goodbye>(&message)) {
    const StatusCode code =
        goodbye->code == StatusCode::kOk ? StatusCode::kPeerLost : goodbye->code;
    end->is_known = false;  // it does not want a Goodbye in return
    fail(*end, Status(code, "\"" + end->info.name + "\" ended the connection: " + goodbye->reason));
    return;
  }
  if (const auto* welcome = std::get_if<wire::Welcome>(&message)) {
    on_welcome(*end, *welcome);
  } else if (auto* describe = std::get_if<wire::Describe>(&message)) {
    on_describe(*end, std::move(*describe));
  } else if (std::holds_alternative<wire::Confirm>(message)) {
    peer_up(*end);
  } else if (end->stage != Stage::kUp) {
    fail(*end, Status(StatusCode::kProtocolError,
                      std::string(wire::message_name(message)) + " before the connection is up"));
  } else if (const auto* beat = std::get_if<wire::Heartbeat>(&message)) {
    on_heartbeat(*end, *beat);
  } else {
    const bool are_credits = std::holds_alternative<wire::Credits>(message);
    if (are_credits && member_.on_credits) member_.on_credits();
    handler_->on_message(end->peer, std::move(message));
  }
  member_.wake();
}

}  // namespace baton_test
