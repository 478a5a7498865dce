// ControlPlane: the control connections of one Context, and the one thread that serves them:
// listener, TLS, hello, heartbeats, dials, data-socket proofs. It never touches plug-ins.
//
// Invariants: those of ControlInterface (src/control/control_interface.h), and
//  1. Nothing of a connection is acted upon before its peer has proven the secret, if there is one.
//  2. No operation of another connection waits for one that is slow or silent.
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
#include "src/control/control_interface.h"
#include "src/control/control_options.h"
#include "src/wire/messages.h"

namespace baton::control {

class ControlPlaneImpl;

class ControlPlane final : public ControlInterface {
 public:
  // Binds and listens; no callback before begin(), so that a handler which needs this object can
  // store it first. `handler`, `logger` and `clock` (which decides all
  // time-outs) are borrowed until stop() returned. kInvalidArgument: options; kPermissionDenied:
  // open bind without a secret; kAddressInUse: names the address; kIoError, kExhausted.
  static Result<std::unique_ptr<ControlPlane>> create(ControlOptions options,
                                                      ControlHandler* handler, base::Logger& logger,
                                                      base::Clock& clock);
  // create() and begin(), for a handler whose callbacks do not need this object.
  static Result<std::unique_ptr<ControlPlane>> start(ControlOptions options,
                                                     ControlHandler* handler, base::Logger& logger,
                                                     base::Clock& clock);
  ~ControlPlane() override;
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  // Starts the thread. kExhausted. REQUIRES: called once.
  Status begin() override;
  const std::string& address() const override;
  const BootId& boot_id() const override;
  Result<PeerId> dial(std::string_view address) override;
  Status send(PeerId peer, const wire::Message& message) override;
  size_t unsent_bytes(PeerId peer) const override;
  Status broadcast(const wire::Message& message) override;
  void disconnect(PeerId peer, const Status& why) override;
  void abandon_dial(PeerId dialed, const Status& why) override;
  Result<wire::StreamTicket> expect_stream(PeerId peer, PathEpoch epoch) override;
  void open_stream(PeerId peer, PathEpoch epoch, const wire::StreamTicket& ticket) override;
  void set_alarm(int64_t at_ns) override;
  // Sends what send() took before it, says Goodbye to all, closes everything, joins the thread;
  // bounded by goodbye_timeout_ms.
  void stop() override;

 private:
  explicit ControlPlane(std::unique_ptr<ControlPlaneImpl> impl);
  std::unique_ptr<ControlPlaneImpl> impl_;
};

}  // namespace baton::control
