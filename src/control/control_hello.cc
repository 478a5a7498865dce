// From a connection to a peer that is up.
#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>

#include "src/base/assert.h"
#include "src/base/random.h"
#include "src/control/control_plane_impl.h"
#include "src/control/hello.h"

namespace baton::control {

namespace {

uint64_t random_nonzero() {
  std::array<uint8_t, 8> bytes{};
  uint64_t value = 0;
  while (value == 0) {
    base::secure_random_bytes(bytes);
    std::memcpy(&value, bytes.data(), bytes.size());
  }
  return value;
}

Status unexpected(const wire::Message& message, const char* wanted) {
  return Status(StatusCode::kProtocolError,
                std::string(wire::message_name(message)) + " where " + wanted + " is due");
}

}  // namespace

void ControlPlaneImpl::execute(DialCommand& command) {
  for (auto& [id, link] : links_) {
    const bool is_dial =
        link->is_open && link->is_dialer && !link->is_stream_dial && !link->is_ended;
    if (is_dial && link->stage != Stage::kUp && link->target == command.target) {
      link->joiners.push_back(command.peer);
      // Who comes later has as much time as the first one had.
      if (link->stage != Stage::kHeld) set_deadline(*link, options_.dial_timeout_ms);
      return;
    }
  }
  Link& link = add_link(Stage::kConnecting, base::UniqueFd());
  link.is_dialer = true;
  link.peer = command.peer;
  link.target = std::move(command.target);
  link.candidates = std::move(command.candidates);
  std::reverse(link.candidates.begin(), link.candidates.end());
  by_peer_.emplace(link.peer, link.id);
  set_deadline(link, options_.dial_timeout_ms);
  dial_next(link);
}

void ControlPlaneImpl::execute(AbandonDialCommand& command) {
  Link* link = find_peer(command.dialed);
  if (link != nullptr && (!link->is_dialer || link->stage == Stage::kUp)) return;
  if (link != nullptr && link->joiners.empty()) {
    close_politely(*link, command.why);
    return;
  }
  if (link != nullptr) {
    by_peer_.erase(link->peer);
    link->peer = link->joiners.front();
    link->joiners.erase(link->joiners.begin());
    by_peer_.emplace(link->peer, link->id);
    handler_->on_dial_failed(command.dialed, command.why);
    return;
  }
  for (auto& [id, other] : links_) {
    if (std::erase(other->joiners, command.dialed) == 0) continue;
    handler_->on_dial_failed(command.dialed, command.why);
    return;
  }
}

void ControlPlaneImpl::dial_next(Link& link) {
  while (!link.candidates.empty()) {
    link.remote = link.candidates.back();
    link.candidates.pop_back();
    auto fd = begin_connect(link.remote);
    if (fd.is_ok()) {
      link.fd = std::move(fd).value();
      link.write_wanted = true;
      watch(link, true);
      return;
    }
    link.last_error = fd.status();
  }
  const std::string what = link.is_stream_dial ? "a data socket" : "\"" + link.target.name + "\"";
  if (link.last_error.code() == StatusCode::kExhausted) {
    // It ran out here; there is nothing to look for over there.
    fail(link,
         Status(StatusCode::kExhausted, "cannot dial " + what + ": " + link.last_error.message()));
    return;
  }
  fail(link,
       Status(StatusCode::kUnavailable, "cannot reach " + what + ": " + link.last_error.message() +
                                            "; is it running, and is this its present address?"));
}

void ControlPlaneImpl::on_connected(Link& link) {
  const int error = connect_error(link.fd.get());
  if (error != 0) {
    link.last_error = Status(StatusCode::kUnavailable,
                             "connect " + link.remote.text() + ": " + std::strerror(error));
    link.fd.reset();
    dial_next(link);
    return;
  }
  link.write_wanted = false;
  watch(link, false);
  output_waits_ = true;
  if (link.is_stream_dial) {
    link.stage = Stage::kAnswer;
    link.queue_raw(link.opening);
    return;
  }
  if (tls_ == nullptr) {
    link.queue_raw(kControlPreface);
    link.stage = Stage::kHello;
    send_hello(link);
    return;
  }
  auto session = tls_->start(TlsRole::kDialer);
  Status begun = session.status();
  if (session.is_ok()) {
    link.tls = std::move(session).value();
    link.stage = Stage::kTls;
    begun = link.tls->feed({}, plain_);
    link.tls->take_output(link.out);
  }
  if (!begun.is_ok()) fail(link, begun);
}

void ControlPlaneImpl::send_hello(Link& link) {
  wire::Hello hello;
  hello.protocol_min = options_.protocol_min;
  hello.protocol_max = options_.protocol_max;
  hello.features = options_.features;
  hello.required_features = options_.required_features;
  hello.name = options_.name;
  hello.boot_id = options_.boot_id;
  hello.incarnation = ++incarnation_;
  base::secure_random_bytes(hello.nonce);
  hello.address = address_;
  const Link* other = other_of_name(link, link.target.name);
  if (other != nullptr && other->is_known()) {
    hello.known_session = other->session;
    hello.known_boot = other->info.boot_id;
  }
  link.hello = hello;
  const Status queued = queue(link, hello);
  BATON_ASSERT(queued.is_ok(), "our hello is within the limits: options were validated");
}

Status ControlPlaneImpl::on_frame(Link& link, std::span<const uint8_t> frame) {
  auto message = wire::decode(frame);
  if (!message.is_ok()) return message.status();
  if (link.stage == Stage::kUp) return on_peer_message(link, *message);
  if (link.stage == Stage::kObserver) return on_observer_message(link, *message);
  return on_handshake_message(link, *message);
}

Status ControlPlaneImpl::on_handshake_message(Link& link, wire::Message& message) {
  if (const auto* goodbye = std::get_if<wire::Goodbye>(&message);
      goodbye != nullptr && link.is_known()) {
    return said_goodbye(link, *goodbye);
  }
  if (link.stage == Stage::kHello && !link.is_dialer) {
    auto* hello = std::get_if<wire::Hello>(&message);
    if (hello == nullptr) return unexpected(message, "Hello");
    link.hello = std::move(*hello);
    // Without a secret there is nothing to prove; with one, TLS has, or the answer is a refusal.
    link.was_proven = link.authenticated || tls_ == nullptr;
    decide_hello(link);
    return Status::ok();
  }
  if (link.stage == Stage::kHello) {
    auto* welcome = std::get_if<wire::Welcome>(&message);
    if (welcome == nullptr) return unexpected(message, "Welcome");
    return on_welcome(link, *welcome);
  }
  if (link.stage == Stage::kDescribe) {
    auto* describe = std::get_if<wire::Describe>(&message);
    if (describe == nullptr) return unexpected(message, "Describe");
    return on_describe(link, *describe);
  }
  BATON_ASSERT(link.stage == Stage::kConfirm, "frames are taken in known stages");
  if (!std::holds_alternative<wire::Confirm>(message)) return unexpected(message, "Confirm");
  peer_up(link);
  return Status::ok();
}

// ---- the acceptor's side

void ControlPlaneImpl::decide_hello(Link& link) {
  const auto agreed = check_hello(options_, options_.boot_id, link.hello, link.authenticated);
  if (!agreed.is_ok()) {
    refuse_hello(link, agreed.status(), 0);
    return;
  }
  if (link.hello.role == wire::HelloRole::kObserver) {
    accept_observer(link, agreed->version, agreed->features);
    return;
  }
  while (Link* other = other_of_name(link, link.hello.name)) {
    if (!settle_with_other(link, *other)) return;
    if (other->is_open && !other->is_ended)
      break;  // our own dial; it will be told to join this link
  }
  const auto peers = std::count_if(links_.begin(), links_.end(), [](const auto& entry) {
    return entry.second->is_open && entry.second->is_known();
  });
  if (peers >= static_cast<ptrdiff_t>(options_.limits.max_peers)) {
    refuse_hello(link,
                 Status(StatusCode::kExhausted, "\"" + options_.name + "\" has " +
                                                    std::to_string(peers) + " peers already"),
                 0);
    return;
  }
  accept_hello(link, agreed->version, agreed->features);
}

// The connection with that name that is known already, or else our own dial of that name.
Link* ControlPlaneImpl::other_of_name(const Link& link, const std::string& name) {
  Link* dial = nullptr;
  for (auto& [id, other] : links_) {
    if (!other->is_open || other->is_ended || other->is_stream() || id == link.id) continue;
    if (other->is_known() && other->info.name == name) return other.get();
    if (other->is_dialer && !other->is_known() && other->target.name == name) dial = other.get();
  }
  return dial;
}

// Whether the hello of `link` may go on as far as `other` is concerned; otherwise it has been held
// or refused. REQUIRES: other has the name that the hello gives.
bool ControlPlaneImpl::settle_with_other(Link& link, Link& other) {
  const wire::Hello& hello = link.hello;
  if (!other.is_known()) {
    // Crossing dials: the lower name's survives. A dialer that believes to have accepted ours is
    // asked to wait, too, until we have its word. (It may believe so of a process of our name that
    // is no more: that says nothing of our dial.)
    const bool accepted_ours = hello.known_session != 0 && hello.known_boot == options_.boot_id;
    if (options_.name > hello.name && !accepted_ours) return true;
    hold(link, other.id, options_.dial_timeout_ms);
    return false;
  }
  if (other.info.boot_id != hello.boot_id) {
    hold(link, other.id, options_.limits.probe_timeout_ms);
    if (other.stage == Stage::kUp) start_probe(other);
    return false;
  }
  if (hello.known_session == other.session || hello.incarnation <= other.info.incarnation) {
    refuse_hello(link, Status(StatusCode::kFailedPrecondition, "both are connected already"),
                 other.session);
    return false;
  }
  fail(other, Status(StatusCode::kPeerLost, "\"" + hello.name + "\" connected anew"));
  return true;
}

void ControlPlaneImpl::accept_hello(Link& link, uint16_t version, uint64_t features) {
  link.peer = PeerId(next_peer_.fetch_add(1, std::memory_order_relaxed));
  by_peer_.emplace(link.peer, link.id);
  link.session = random_nonzero();
  link.info.name = link.hello.name;
  link.info.boot_id = link.hello.boot_id;
  link.info.incarnation = link.hello.incarnation;
  link.info.address = link.hello.address;
  link.info.version = version;
  link.info.features = features;

  wire::Welcome welcome;
  welcome.version = version;
  welcome.features = features;
  welcome.name = options_.name;
  welcome.boot_id = options_.boot_id;
  welcome.incarnation = ++incarnation_;
  welcome.nonce = link.hello.nonce;
  welcome.session = link.session;
  if (link.tls != nullptr) {
    link.stream_key = link.tls->stream_key();
  } else {
    base::secure_random_bytes(link.stream_key);
    welcome.stream_key = link.stream_key;
  }
  link.stage = Stage::kDescribe;
  link.reader.set_max_frame_bytes(wire::kMaxMessageBytes);
  set_deadline(link, options_.limits.hello_timeout_ms);
  Status queued = queue(link, welcome);
  const wire::Describe ours = handler_->describe_self();
  link.our_unit_bytes = ours.unit_bytes;
  if (queued.is_ok()) queued = queue(link, ours);
  link.described = true;
  if (!queued.is_ok())
    fail(link, Status(StatusCode::kInternal, "our description: " + queued.message()));
}

void ControlPlaneImpl::refuse_hello(Link& link, const Status& why, uint64_t session) {
  wire::Welcome welcome;
  welcome.name = options_.name;
  welcome.boot_id = options_.boot_id;
  welcome.nonce = link.hello.nonce;
  welcome.session = session;
  welcome.code = why.code();
  welcome.text = why.message();
  if (session == 0)
    logger_.warning("\"{}\" refused {}: {}", options_.name, link.remote.text(), why.to_string());
  const Status queued = queue(link, welcome);
  BATON_ASSERT(queued.is_ok(), "a refusal is within the limits");
  link.is_ended = true;
  linger(link);
}

void ControlPlaneImpl::hold(Link& link, LinkId other, uint32_t timeout_ms) {
  link.stage = Stage::kHeld;
  link.waits_for = other;
  set_deadline(link, timeout_ms);
}

void ControlPlaneImpl::held_too_long(Link& link) {
  Link* other = find_link(link.waits_for);
  if (other == nullptr || other->is_ended) {
    decide_held(link.waits_for);
    return;
  }
  if (other->stage == Stage::kUp) {
    // Its end decides all that wait for it, this link included, in the order in which they came.
    fail(*other,
         Status(StatusCode::kPeerLost, "\"" + other->info.name + "\" did not answer within " +
                                           std::to_string(options_.limits.probe_timeout_ms) +
                                           " ms, and another process took its name"));
    return;
  }
  const Status why(StatusCode::kDeadlineExceeded,
                   "another connection of the same name was not decided in time");
  link.stage = Stage::kHello;
  if (link.is_dialer) {
    fail(link, why);
  } else {
    refuse_hello(link, why, 0);
  }
}

void ControlPlaneImpl::decide_held(LinkId other) {
  for (auto& [id, link] : links_) {
    if (!link->is_open || link->stage != Stage::kHeld || link->waits_for != other) continue;
    link->stage = Stage::kHello;
    link->waits_for = 0;
    resume_reading(*link);
    set_deadline(*link,
                 link->is_dialer ? options_.dial_timeout_ms : options_.limits.hello_timeout_ms);
    Status status;
    if (link->is_dialer) {
      const wire::Welcome welcome = link->welcome;
      status = on_welcome(*link, welcome);
    } else {
      decide_hello(*link);
    }
    if (status.is_ok() && link->is_open) status = take_frames(*link);
    if (!status.is_ok() && link->is_open) fail(*link, status);
  }
}

// ---- the dialer's side

Status ControlPlaneImpl::on_welcome(Link& link, const wire::Welcome& welcome) {
  const auto agreed =
      check_welcome(options_, options_.boot_id, link.hello, link.target.name, welcome);
  if (!agreed.is_ok() && welcome.code != StatusCode::kOk && welcome.session != 0) {
    join_session(link, welcome.session, agreed.status());
    return Status::ok();
  }
  if (!agreed.is_ok()) return agreed.status();
  link.welcome = welcome;
  for (auto& [id, other] : links_) {
    const bool same_name = other->is_open && !other->is_ended && other->is_known() &&
                           id != link.id && other->info.name == welcome.name;
    if (same_name && !settle_as_dialer(link, *other)) return Status::ok();
  }
  link.session = welcome.session;
  link.info.name = welcome.name;
  link.info.boot_id = welcome.boot_id;
  link.info.incarnation = welcome.incarnation;
  link.info.address = format_address(link.target);
  link.info.version = agreed->version;
  link.info.features = agreed->features;
  link.info.dialed_by_us = true;
  link.stream_key = link.tls != nullptr ? link.tls->stream_key() : welcome.stream_key;
  OPENSSL_cleanse(link.welcome.stream_key.data(), link.welcome.stream_key.size());
  link.stage = Stage::kDescribe;
  link.reader.set_max_frame_bytes(wire::kMaxMessageBytes);
  return Status::ok();
}

bool ControlPlaneImpl::settle_as_dialer(Link& link, Link& other) {
  if (other.info.boot_id != link.welcome.boot_id) {
    hold(link, other.id, options_.limits.probe_timeout_ms);
    if (other.stage == Stage::kUp) start_probe(other);
    return false;
  }
  // The peer knows nothing of the older connection any more, or it would have told us to join it.
  fail(other, Status(StatusCode::kPeerLost, "\"" + other.info.name + "\" was connected anew"));
  return true;
}

void ControlPlaneImpl::join_session(Link& link, uint64_t session, const Status& why) {
  std::vector<PeerId> dials = std::move(link.joiners);
  dials.insert(dials.begin(), link.peer);
  by_peer_.erase(link.peer);
  link.is_ended = true;
  linger(link);
  for (auto& [id, other] : links_) {
    if (!other->is_open || other->is_ended || !other->is_known() || other->session != session)
      continue;
    if (other->stage == Stage::kUp) {
      for (const PeerId dial : dials) handler_->on_dial_joined(dial, other->peer);
    } else {
      other->joiners.insert(other->joiners.end(), dials.begin(), dials.end());
    }
    decide_held(link.id);
    return;
  }
  for (const PeerId dial : dials)
    handler_->on_dial_failed(dial, Status(StatusCode::kPeerLost, why.message()));
  decide_held(link.id);
}

// ---- both

Status ControlPlaneImpl::on_describe(Link& link, wire::Describe& describe) {
  link.info.describe = std::move(describe);
  wire::Describe ours;
  if (link.is_dialer) {
    ours = handler_->describe_self();
    link.our_unit_bytes = ours.unit_bytes;
  }
  link.info.unit_bytes = std::min(link.our_unit_bytes, link.info.describe.unit_bytes);
  const Status checked = handler_->check_peer(link.info.describe);
  if (!checked.is_ok()) {
    close_politely(link, Status(checked.code(), "\"" + options_.name + "\" and \"" +
                                                    link.info.name + "\": " + checked.message()));
    return Status::ok();
  }
  if (!link.is_dialer) {
    BATON_RETURN_IF_ERROR(queue(link, wire::Confirm{}));
    link.hello_frames = link.frames.size();
    peer_up(link);
    return Status::ok();
  }
  link.stage = Stage::kConfirm;
  link.described = true;
  const Status queued = queue(link, ours);
  if (!queued.is_ok()) return Status(StatusCode::kInternal, "our description: " + queued.message());
  return Status::ok();
}

}  // namespace baton::control
