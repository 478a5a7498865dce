// ProxyRig: two Contexts of this process that know each other through a TcpProxy only, a pool each,
// and the checks that hold after a hand-off, pushed or pulled, whatever happened to their
// connections:
//
//  - at the source's verdict the source is overwritten, at the target's the target is looked at and
//    poisoned: both at once, each on a thread of its own
//  - the target held nothing but poison and the source's bytes as they were while the source's side
//    lived; layers whose Gate opened well are complete; a target's side that is DONE is complete
//  - the source's side is DONE only if the target's is; each has exactly one event
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/integration/hand_off.h"
#include "tests/integration/rig.h"
#include "tests/support/tcp_proxy.h"

namespace baton_test {

// Silence for which nobody takes a process for dead that merely waits for a busy machine.
inline constexpr uint32_t kPeerDeadMs = 3000;

struct ProxyRigOptions {
  By by = By::kPush;
  bool decode_dials = true;  // else prefill does
  uint32_t paths = 1;        // data sockets
  uint32_t heartbeat_interval_ms = 300;
  uint32_t peer_dead_after_ms = kPeerDeadMs;
};

class ProxyRig {
 public:
  // 2.5 MiB in 640 units of 4 KiB.
  static constexpr baton::TokenRange kTokens{0, 640};
  static constexpr uint64_t kPayloadBytes = uint64_t{640} * 4096;
  static PoolShape shape();

  // How both sides ended.
  struct Ends {
    baton::Status target;
    baton::Status source;
  };

  explicit ProxyRig(const ProxyRigOptions& options);

  TcpProxy& proxy() { return *proxy_; }
  baton::Context& prefill() { return *prefill_; }
  baton::Context& decode() { return *decode_; }
  Pool& source() { return *source_; }
  Pool& target() { return *target_; }
  // Of the present connection.
  TcpProxy::Stream control() const { return control_; }
  TcpProxy::Stream data(uint32_t path = 0) const { return {TcpProxy::Kind::kData, data_[path]}; }
  // Where KV bytes go.
  TcpProxy::Way to_decode() const;
  TcpProxy::Way to_prefill() const;
  // What passes on a data socket in KV's direction before the first frame.
  uint64_t proof_bytes() const { return options_.decode_dials ? 40 : 104; }

  // Both sides know each other and the source is as fill_source() leaves it. try_connect() gives
  // the dialer's error.
  void connect();
  baton::Status try_connect();
  // The dialer has opened this Path, which was cut, again, after `lost` sockets that never were
  // one; data(path) is the new one.
  bool wait_reopened(uint32_t path, uint32_t lost = 0);
  // Both sides know no peer any more; false after 20 s.
  bool wait_disconnected();

  void fill_source();
  // A hand-off that is taken up; `layers` of kTokens are ticked.
  HandOff start(uint32_t layers, uint32_t deadline_ms = 20000);
  // Waits for both ends, and checks them.
  Ends finish(HandOff& handoff);
  // A hand-off over a new connection: complete, and every byte right.
  void expect_life_goes_on();

  uint64_t checked_bytes() const { return checked_bytes_; }
  uint64_t foreign_bytes() const { return foreign_bytes_; }

 private:
  baton::Context& dialer() { return options_.decode_dials ? *decode_ : *prefill_; }
  baton::Context& acceptor() { return options_.decode_dials ? *prefill_ : *decode_; }
  bool is_open(uint32_t ordinal) const;
  void check_target(const HandOff& handoff, const baton::Status& end);
  void check_events(const HandOff& handoff, const Ends& ends);

  ProxyRigOptions options_;
  std::unique_ptr<baton::Context> prefill_;
  std::unique_ptr<baton::Context> decode_;
  std::unique_ptr<Pool> source_;
  std::unique_ptr<Pool> target_;
  std::unique_ptr<TcpProxy> proxy_;
  std::vector<uint32_t> blocks_;
  std::vector<uint8_t> expected_;  // the target after a complete hand-off
  TcpProxy::Stream control_;
  std::vector<uint32_t> data_;  // ordinals of the live data sockets
  baton::PeerId prefill_peer_;  // as decode knows it
  baton::PeerId decode_peer_;
  uint32_t handoffs_ = 0;
  uint64_t checked_bytes_ = 0;
  uint64_t foreign_bytes_ = 0;
};

}  // namespace baton_test
