// ControlInterface: what a Context needs of its control connections, and ControlHandler: what it
// hears of them. ControlPlane is the one of real sockets; a simulation brings its own.
//
// Invariants:
//  1. A PeerId given by dial() is answered by exactly one of on_peer_up, on_dial_failed,
//     on_dial_joined. A peer that was up goes down exactly once, unless stop() comes first.
//  2. Between two Contexts at most one connection is up. One to a restarted Context, or to one that
//     lost its connection, is a new peer with a new PeerId; the old one goes down before the new
//     one comes up.
//  3. Messages of one peer arrive in the order in which they were sent. Nothing but hello messages
//     arrives before on_peer_up, nothing after on_peer_down.
//
// Thread rule: every public function from any thread, also from within ControlHandler; begin, stop
// and destruction not from within it. None but begin, stop and dial of a host name (resolver)
// blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/base/unique_fd.h"
#include "src/control/control_options.h"
#include "src/wire/messages.h"

namespace baton::control {

// Called on the control thread. MUST NOT block; MAY call the ControlInterface (except begin and
// stop).
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

  // A peer that was up is lost without a Goodbye, `silent_ns` after its last sign of life.
  // on_peer_down follows.
  virtual void on_peer_lost_after(PeerId, int64_t /*silent_ns*/) {}
  // What an observer is told; at most wire::kMaxStateBytes.
  virtual std::string describe_state(wire::StateFormat) { return {}; }

  // At or after the time of set_alarm(), and then of the value returned (INT64_MAX: none).
  virtual int64_t on_alarm(int64_t now_ns) = 0;
};

class ControlInterface {
 public:
  virtual ~ControlInterface() = default;

  // From here on callbacks come. REQUIRES: called once.
  virtual Status begin() = 0;

  // What peers give to dial(): "baton://127.0.0.1:41873/decode-0?auth=psk". Constant.
  virtual const std::string& address() const = 0;
  virtual const BootId& boot_id() const = 0;

  // Begins a connection; the result comes by callback, possibly before this returns. Refused at
  // once: kInvalidArgument (address, or it is our own), kPermissionDenied (the address and we
  // disagree whether there is a secret), kNotFound (host name), kFailedPrecondition (stopped).
  virtual Result<PeerId> dial(std::string_view address) = 0;

  // Queues a message for a peer that is up. kBusy: the peer does not read fast enough, nothing was
  // queued; kNotFound: no such peer (any more); kFailedPrecondition: stopped; else as
  // wire::encode. Messages queued before the peer goes down may be lost.
  virtual Status send(PeerId peer, const wire::Message& message) = 0;
  // Of messages for a peer that is up, those that its socket has not taken; 0 for any other. send()
  // takes up to send_queue_bytes of them.
  virtual size_t unsent_bytes(PeerId peer) const = 0;
  // To every peer, and to those whose connection is being made and who have been given a
  // description already: whoever changes what describe_self() says, then broadcasts the change,
  // misses nobody. (A peer may be told twice.) A peer whose queue is full is disconnected.
  // kInvalidArgument, kOutOfRange: as wire::encode.
  virtual Status broadcast(const wire::Message& message) = 0;

  // Ends a connection, or a dial. The peer reads `why`. on_peer_down (or on_dial_failed) follows
  // with the same Status. Ignored for a peer that is not there.
  virtual void disconnect(PeerId peer, const Status& why) = 0;

  // Whoever asked for `dialed` waits no more. Ends a dial that is not up, as disconnect(), unless
  // other dials of the same address wait for it: then it goes on for these, and on_dial_failed of
  // `dialed` is all that follows. Ignored for a peer that is up, or is not there.
  virtual void abandon_dial(PeerId dialed, const Status& why) = 0;

  // The acceptor's half of a data socket: a ticket, good once and for dial_timeout_ms, to be sent
  // to `peer`. kNotFound: the peer is not up; kBusy: too many are open for it; kFailedPrecondition:
  // stopped.
  virtual Result<wire::StreamTicket> expect_stream(PeerId peer, PathEpoch epoch) = 0;
  // The dialer's half: dials the peer's port and proves itself with the ticket that the peer issued
  // for this epoch. Result by on_stream or on_stream_failed.
  virtual void open_stream(PeerId peer, PathEpoch epoch, const wire::StreamTicket& ticket) = 0;

  // Calls on_alarm at `at_ns` (of the clock given), or at an earlier time already set.
  virtual void set_alarm(int64_t at_ns) = 0;

  // Says Goodbye to all and closes everything. No callback during or after it. Idempotent.
  virtual void stop() = 0;
};

}  // namespace baton::control
