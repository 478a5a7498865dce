// ControlPlane: the control connections of one Context, and the one thread that serves them:
// listener, TLS, hello, heartbeats, dials, data-socket proofs. It never touches plug-ins.
//
// Invariants:
//  1. A PeerId given by dial() is answered by exactly one of on_peer_up, on_dial_failed,
//     on_dial_joined. A peer that was up goes down exactly once, unless stop() comes first.
//  2. Between two Contexts at most one connection is up. One to a restarted Context, or to one that
//     lost its connection, is a new peer with a new PeerId; the old one goes down before the new
//     one comes up.
//  3. Messages of one peer arrive in the order in which they were sent. Nothing but hello messages
//     arrives before on_peer_up, nothing after on_peer_down.
//  4. Nothing of a connection is acted upon before its peer has proven the secret, if there is one.
//  5. No operation of another connection waits for one that is slow or silent.
//
// Failure: a connection that breaks the protocol, falls silent for dead_after_ms, or is lost, is
// closed, and its peer down at once. Nothing is retried.
//
// Thread rule: every public function from any thread, also from within ControlHandler; start, stop
// and destruction not from within it. None but start, stop and dial of a host name (resolver)
// blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/base/unique_fd.h"
#include "src/control/control_options.h"
#include "src/wire/messages.h"

namespace baton::control {

// Called on the control thread. MUST NOT block; MAY call the ControlPlane (except start and stop).
class ControlHandler {
 public:
  virtual ~ControlHandler() = default;

  // What this side offers, asked for once per connection.
  virtual wire::Describe describe_self() = 0;
  // Whether this side can work with what the peer offers. A failure ends the connection with that
  // Status on both sides; unit_bytes and limits are agreed already.
  virtual Status check_peer(const wire::Describe& theirs) = 0;

  virtual void on_peer_up(PeerId peer, const PeerInfo& info) = 0;
  // kDeadlineExceeded, kPermissionDenied (secret), kMismatch (version, features, name, check_peer),
  // kAddressInUse (our id lives there), kUnavailable (nobody listens), kPeerLost, kProtocolError.
  virtual void on_dial_failed(PeerId dialed, const Status& why) = 0;
  // The Context dialled is connected already as `existing` (it dialled us at the same time, or an
  // earlier dial succeeded); `dialed` names nothing from now on. `existing` is up.
  virtual void on_dial_joined(PeerId dialed, PeerId existing) = 0;
  virtual void on_peer_down(PeerId peer, const Status& why) = 0;
  // Every message of a peer but Hello, Welcome, Describe, Confirm, Heartbeat and Goodbye.
  virtual void on_message(PeerId peer, wire::Message&& message) = 0;
  // Lease basis: the peer has echoed a heartbeat that this side sent at sent_ns. Rises.
  virtual void on_heartbeat_echo(PeerId peer, int64_t sent_ns) = 0;

  // A data socket, connected, proven by both ends, non-blocking, TCP_NODELAY; nothing is read or
  // written past the proof. To whoever called open_stream, and to whoever called expect_stream.
  virtual void on_stream(PeerId peer, PathEpoch epoch, base::UniqueFd stream) = 0;
  // Not called once the peer is down.
  virtual void on_stream_failed(PeerId peer, PathEpoch epoch, const Status& why) = 0;

  // At or after the time of set_alarm(), and then of the value returned (INT64_MAX: none).
  virtual int64_t on_alarm(int64_t now_ns) = 0;
};

class ControlPlaneImpl;

class ControlPlane {
 public:
  // Binds and listens; no callback before begin(), so that a handler which needs this object can
  // store it first. `handler`, `logger` and `clock` (which decides all
  // time-outs) are borrowed until stop() returned. kInvalidArgument: options; kPermissionDenied:
  // open bind without a secret; kAddressInUse: names the address; kIoError, kExhausted.
  static Result<std::unique_ptr<ControlPlane>> create(ControlOptions options,
                                                      ControlHandler* handler, base::Logger& logger,
                                                      base::Clock& clock);
  // Starts the thread. kExhausted. REQUIRES: called once.
  Status begin();
  // Both, for a handler whose callbacks do not need this object.
  static Result<std::unique_ptr<ControlPlane>> start(ControlOptions options,
                                                     ControlHandler* handler, base::Logger& logger,
                                                     base::Clock& clock);
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  // What peers give to dial(): "baton://127.0.0.1:41873/decode-0?auth=psk". Constant.
  const std::string& address() const;
  const BootId& boot_id() const;

  // Begins a connection; the result comes by callback, possibly before this returns. Refused at
  // once: kInvalidArgument (address, or it is our own), kPermissionDenied (the address and we
  // disagree whether there is a secret), kNotFound (host name), kFailedPrecondition (stopped).
  Result<PeerId> dial(std::string_view address);

  // Queues a message for a peer that is up. kBusy: the peer does not read fast enough, nothing was
  // queued; kNotFound: no such peer (any more); kFailedPrecondition: stopped; else as
  // wire::encode. Messages queued before the peer goes down may be lost.
  Status send(PeerId peer, const wire::Message& message);
  // To every peer, and to those whose connection is being made and who have been given a
  // description already: whoever changes what describe_self() says, then broadcasts the change,
  // misses nobody. (A peer may be told twice.) A peer whose queue is full is disconnected.
  // kInvalidArgument, kOutOfRange: as wire::encode.
  Status broadcast(const wire::Message& message);

  // Ends a connection, or a dial. The peer reads `why`. on_peer_down (or on_dial_failed) follows
  // with the same Status. Ignored for a peer that is not there.
  void disconnect(PeerId peer, const Status& why);

  // The acceptor's half of a data socket: a ticket, good once and for dial_timeout_ms, to be sent
  // to `peer`. kNotFound: the peer is not up; kBusy: too many are open for it; kFailedPrecondition:
  // stopped.
  Result<wire::StreamTicket> expect_stream(PeerId peer, PathEpoch epoch);
  // The dialer's half: dials the peer's port and proves itself with the ticket that the peer issued
  // for this epoch. Result by on_stream or on_stream_failed.
  void open_stream(PeerId peer, PathEpoch epoch, const wire::StreamTicket& ticket);

  // Calls on_alarm at `at_ns` (of the clock given), or at an earlier time already set.
  void set_alarm(int64_t at_ns);

  // Sends what send() took before it, says Goodbye to all, closes everything, joins the thread;
  // bounded by goodbye_timeout_ms. No callback during or after it. Idempotent.
  void stop();

 private:
  explicit ControlPlane(std::unique_ptr<ControlPlaneImpl> impl);
  std::unique_ptr<ControlPlaneImpl> impl_;
};

}  // namespace baton::control
