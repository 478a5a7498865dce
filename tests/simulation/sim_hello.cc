// The hello of the simulated control network.
#include <algorithm>

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

Result<PeerId> SimControl::dial(std::string_view address) {
  if (!is_running_) return Status(StatusCode::kFailedPrecondition, "\"" + name() + "\" is stopped");
  SimEnd& end = network_.new_end(this);
  end.is_dialer = true;
  end.target = std::string(address.substr(address.rfind('/') + 1));
  end.peer = PeerId(++last_peer_);
  wire::Hello hello;
  hello.protocol_min = hello.protocol_max = baton::control::kProtocolVersion;
  hello.name = name();
  hello.boot_id = boot_id_;
  hello.incarnation = ++incarnation_;
  hello.address = address_;
  for (const SimEnd* other : own_ends()) {
    if (other->stage == Stage::kUp && other->info.name == end.target)
      hello.known_session = other->session;
  }
  const uint32_t number = end.number;
  const std::string target = end.target;
  world().note(member(), "dials", number);
  const SimControl* listens = network_.listener(target);
  const int64_t arrives_ns = listens == nullptr ? world().now_ns() + network_.latency_ns()
                                                : network_.arrival_ns(*this, *listens);
  world().at(arrives_ns, [this, alive = alive_, number, target, hello] {
    if (!*alive) return;
    SimControl* listener = network_.listener(target);
    if (listener != nullptr) {
      listener->who().at(world().now_ns(), false,
                         [listener, heard = listener->alive_, number, hello] {
                           if (*heard) listener->reached(number, hello);
                         });
      return;
    }
    later(world().now_ns() + network_.latency_ns(), false, number, [this, target](SimEnd& one) {
      fail(one, Status(StatusCode::kUnavailable, "nobody listens as \"" + target + "\""));
    });
  });
  later(world().now_ns() + int64_t{options_.dial_timeout_ms} * kMsNs, true, number,
        [this](SimEnd& one) {
          if (one.stage == Stage::kUp) return;
          fail(one, Status(StatusCode::kDeadlineExceeded, "the dial was not answered in time"));
        });
  return PeerId(last_peer_);
}

bool SimControl::is_dialling(const std::string& target) {
  for (const SimEnd* end : own_ends()) {
    if (end->is_dialer && end->stage < Stage::kUp && end->target == target) return true;
  }
  return false;
}

// ---- the listener's side

void SimControl::reached(uint32_t dialer, wire::Hello hello) {
  SimEnd* theirs = network_.find(dialer);
  if (theirs == nullptr || theirs->stage != Stage::kDialling) return;
  auto frame = wire::encode(hello);
  auto decoded = wire::decode(std::span(*frame).subspan(sizeof(uint32_t)));
  SimEnd& end = network_.new_end(this);
  end.other = dialer;
  theirs->other = end.number;
  end.hello = std::get<wire::Hello>(*decoded);
  end.stage = Stage::kHello;
  later(world().now_ns() + int64_t{options_.dial_timeout_ms} * kMsNs, true, end.number,
        [this](SimEnd& one) {
          if (one.stage == Stage::kUp || one.stage == Stage::kHeld) return;
          fail(one, Status(StatusCode::kPeerLost, "the hello was not ended in time"));
        });
  decide_hello(end);
}

SimEnd* SimControl::other_of_name(const SimEnd& end, const std::string& name) {
  SimEnd* dial = nullptr;
  for (SimEnd* other : own_ends()) {
    if (other->stage == Stage::kClosed || other->number == end.number) continue;
    if (other->is_known && other->info.name == name) return other;
    if (other->is_dialer && !other->is_known && other->target == name) dial = other;
  }
  return dial;
}

bool SimControl::settle_with_other(SimEnd& end, SimEnd& other) {
  const wire::Hello& hello = end.hello;
  if (!other.is_known) {
    // Crossing dials: the lower name's survives.
    if (name() > hello.name && hello.known_session == 0) return true;
    hold(end, other, int64_t{options_.dial_timeout_ms} * kMsNs);
    return false;
  }
  if (other.info.boot_id != hello.boot_id) {
    hold(end, other, int64_t{options_.limits.probe_timeout_ms} * kMsNs);
    if (other.stage == Stage::kUp && other.probe == 0) {
      other.probe = world().random().next() | 1;
      queue(other, wire::Heartbeat{0, other.their_seq, other.probe, 0});
    }
    return false;
  }
  if (hello.known_session == other.session || hello.incarnation <= other.info.incarnation) {
    refuse(end, Status(StatusCode::kFailedPrecondition, "both are connected already"),
           other.session);
    return false;
  }
  fail(other, Status(StatusCode::kPeerLost, "\"" + hello.name + "\" connected anew"));
  return true;
}

void SimControl::decide_hello(SimEnd& end) {
  const std::string their_name = end.hello.name;
  while (SimEnd* other = other_of_name(end, their_name)) {
    const uint32_t number = other->number;
    if (!settle_with_other(end, *other)) return;
    if (network_.find(number) != nullptr) break;  // our own dial: it will be told to join this one
  }
  end.is_known = true;
  end.peer = PeerId(++last_peer_);
  end.session = world().random().next() | 1;
  end.info.name = end.hello.name;
  end.info.boot_id = end.hello.boot_id;
  end.info.incarnation = end.hello.incarnation;
  end.info.address = end.hello.address;
  wire::Welcome welcome;
  welcome.version = end.info.version = baton::control::kProtocolVersion;
  welcome.name = name();
  welcome.boot_id = boot_id_;
  welcome.incarnation = ++incarnation_;
  welcome.nonce = end.hello.nonce;
  welcome.session = end.session;
  end.stage = Stage::kDescribe;
  const wire::Describe ours = handler_->describe_self();
  end.our_unit_bytes = ours.unit_bytes;
  end.is_described = true;
  queue(end, welcome);
  queue(end, ours);
}

void SimControl::refuse(SimEnd& end, const Status& why, uint64_t session) {
  wire::Welcome welcome;
  welcome.name = name();
  welcome.boot_id = boot_id_;
  welcome.nonce = end.hello.nonce;
  welcome.session = session;
  welcome.code = why.code();
  welcome.text = why.message();
  queue(end, welcome);
  end.stage = Stage::kClosed;
  network_.transmit(end, {});
  network_.drop_end(end.number);
}

void SimControl::hold(SimEnd& end, const SimEnd& other, int64_t timeout_ns) {
  end.stage = Stage::kHeld;
  end.waits_for = other.number;
  later(world().now_ns() + timeout_ns, true, end.number, [this](SimEnd& one) {
    if (one.stage == Stage::kHeld) held_too_long(one);
  });
}

void SimControl::held_too_long(SimEnd& end) {
  SimEnd* other = network_.find(end.waits_for);
  if (other != nullptr && other->stage == Stage::kUp) {
    fail(*other, Status(StatusCode::kPeerLost, "\"" + other->info.name +
                                                   "\" did not answer, and another process took "
                                                   "its name"));
    return;  // its end decides all that wait for it
  }
  if (other == nullptr) {
    decide_held(end.waits_for);
    return;
  }
  refuse(end, Status(StatusCode::kDeadlineExceeded, "another connection was not decided in time"),
         0);
}

void SimControl::decide_held(uint32_t other) {
  std::vector<uint32_t> held;
  for (const SimEnd* end : own_ends()) {
    if (end->stage == Stage::kHeld && end->waits_for == other) held.push_back(end->number);
  }
  for (const uint32_t number : held) {
    SimEnd* end = network_.find(number);
    if (end == nullptr || end->stage != Stage::kHeld) continue;
    end->stage = Stage::kHello;
    end->waits_for = 0;
    decide_hello(*end);
  }
}

// ---- the dialer's side

void SimControl::on_welcome(SimEnd& end, const wire::Welcome& welcome) {
  if (welcome.code != StatusCode::kOk) {
    const Status why(welcome.code, welcome.text);
    if (welcome.session != 0) {
      join_session(end, welcome.session, why);
    } else {
      fail(end, why);
    }
    return;
  }
  for (SimEnd* other : own_ends()) {
    const bool same = other->number != end.number && other->is_known &&
                      other->stage != Stage::kClosed && other->info.name == welcome.name;
    if (same) fail(*other, Status(StatusCode::kPeerLost, "it was connected anew"));
  }
  end.is_known = true;
  end.session = welcome.session;
  end.info.name = welcome.name;
  end.info.boot_id = welcome.boot_id;
  end.info.incarnation = welcome.incarnation;
  end.info.address = "baton://sim/" + end.target;
  end.info.version = welcome.version;
  end.info.dialed_by_us = true;
  end.stage = Stage::kDescribe;
}

void SimControl::join_session(SimEnd& end, uint64_t session, const Status& why) {
  const PeerId dialed = end.peer;
  const uint32_t number = end.number;
  std::vector<PeerId> dials = std::exchange(end.joiners, {});
  dials.insert(dials.begin(), dialed);
  end.stage = Stage::kClosed;
  network_.transmit(end, {});
  network_.drop_end(number);
  SimEnd* joined = nullptr;
  for (SimEnd* other : own_ends()) {
    if (other->is_known && other->session == session && other->stage != Stage::kClosed)
      joined = other;
  }
  for (const PeerId dial : dials) {
    if (joined == nullptr) {
      handler_->on_dial_failed(dial, Status(StatusCode::kPeerLost, why.message()));
    } else if (joined->stage == Stage::kUp) {
      handler_->on_dial_joined(dial, joined->peer);
    } else {
      joined->joiners.push_back(dial);
    }
  }
  decide_held(number);
}

// ---- both

void SimControl::on_describe(SimEnd& end, wire::Describe describe) {
  if (end.stage != Stage::kDescribe) {
    fail(end, Status(StatusCode::kProtocolError, "an unexpected Describe"));
    return;
  }
  end.info.describe = std::move(describe);
  wire::Describe ours;
  if (end.is_dialer) {
    ours = handler_->describe_self();
    end.our_unit_bytes = ours.unit_bytes;
  }
  end.info.unit_bytes = std::min(end.our_unit_bytes, end.info.describe.unit_bytes);
  const Status checked = handler_->check_peer(end.info.describe);
  if (!checked.is_ok()) {
    leave(end, checked);
    return;
  }
  if (!end.is_dialer) {
    queue(end, wire::Confirm{});
    peer_up(end);
    return;
  }
  end.stage = Stage::kConfirm;
  end.is_described = true;
  queue(end, ours);
}

void SimControl::peer_up(SimEnd& end) {
  end.stage = Stage::kUp;
  end.info.remote_address = "sim:" + end.info.name;
  const int64_t now_ns = member_.clock->now_ns();
  end.last_received_ns = now_ns;
  end.next_beat_ns = now_ns;  // the first at once: leases begin with its echo
  world().note(member(), "peer up", end.peer.value);
  for (std::vector<uint8_t>& frame : end.deferred) network_.transmit(end, std::move(frame));
  end.deferred.clear();
  const uint32_t number = end.number;
  handler_->on_peer_up(end.peer, end.info);
  for (const PeerId dial : std::exchange(end.joiners, {})) handler_->on_dial_joined(dial, end.peer);
  beat_or_die(end);
  decide_held(number);
}

}  // namespace baton_test
