// Link: one TCP connection of the control plane, from accept or dial to its end: the socket, TLS if
// any, frames in, bytes out; and what the loop knows of it.
//
// Invariants:
//  1. Bytes leave in the order in which they were queued; nothing is queued after
//  close_after_flush.
//  2. Links are named by ids that are never reused, so that an event of a link that is gone, or a
//     reference to one, finds nothing.
//
// Thread rule: control thread only, except Outbox.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/base/unique_fd.h"
#include "src/control/address.h"
#include "src/control/control_options.h"
#include "src/control/socket.h"
#include "src/control/stream_proof.h"
#include "src/control/tls.h"
#include "src/wire/frame.h"
#include "src/wire/messages.h"

namespace baton::control {

using LinkId = uint64_t;
using Frame = std::vector<uint8_t>;

enum class Stage : uint8_t {
  kFirstByte,   // accepted; TLS, plain control or a data socket?
  kConnecting,  // dialled
  kPreface,     // plain control: the preface is arriving
  kTls,         // handshake
  kHello,       // the acceptor waits for Hello, the dialer for Welcome
  kHeld,        // Hello is here; its answer waits for another link
  kDescribe,    // waits for Describe
  kConfirm,     // the dialer waits for Confirm
  kUp,
  kOpening,   // data socket, acceptor: the dialer's opening is arriving
  kAnswer,    // data socket, dialer: the acceptor's answer is arriving
  kHandOver,  // data socket, acceptor: the answer is leaving
  kObserver,  // no peer: its one question may come, or its answer is leaving
  kClosing,   // the last bytes are leaving; then the end of the stream, or the deadline
};

// How many bytes wait for one peer: shared by those who send and the control thread.
struct Outbox {
  std::atomic<size_t> queued_bytes{0};
};

struct Heartbeats {
  uint64_t sent_seq = 0;
  uint64_t echoed_seq = 0;  // of ours, the last that came back
  uint64_t their_seq = 0;
  std::deque<std::pair<uint64_t, int64_t>> sent;  // (seq, ns) not echoed yet; bounded
  int64_t next_ns = 0;
  int64_t last_received_ns = 0;  // any bytes
  bool beat_due = false;
  bool echo_due = false;
  uint64_t probe = 0;       // ours, unanswered; 0: none
  uint64_t probe_due = 0;   // to be sent with the next heartbeat
  uint64_t probe_echo = 0;  // theirs, to be answered with the next
};

class Link {
 public:
  Link(LinkId link_id, Stage first, base::UniqueFd socket)
      : id(link_id), stage(first), fd(std::move(socket)), reader(wire::kMaxHelloBytes) {}

  bool is_stream() const {
    return stage == Stage::kOpening || stage == Stage::kAnswer || stage == Stage::kHandOver ||
           is_stream_dial;
  }
  // The other end has shown that it may speak (or needs no proof), and said who it is.
  bool is_known() const { return stage >= Stage::kDescribe && stage <= Stage::kUp; }
  bool has_output() const {
    return out_begin < out.size() || !frames.empty() ||
           (stage == Stage::kUp && (beats.beat_due || beats.echo_due));
  }

  // Queues bytes as they are. REQUIRES: TLS is not established.
  void queue_raw(std::span<const uint8_t> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  // Queues a frame of the loop's own.
  void queue(Frame frame) {
    outbox->queued_bytes.fetch_add(frame.size(), std::memory_order_relaxed);
    frames.push_back(std::move(frame));
  }
  // Queues a frame that its sender has added to the outbox.
  void queue_counted(Frame frame) { frames.push_back(std::move(frame)); }
  // Moves frames to `out`, through TLS, while there is little in it.
  Status seal_frames(int64_t now_ns);
  // Writes what the socket takes. kPeerLost: it is broken.
  Status flush(int64_t now_ns);

  const LinkId id;
  Stage stage;
  base::UniqueFd fd;
  bool is_ended = false;  // its peer or dial has been reported as down, failed or joined
  bool is_open = true;    // false: to be removed at the end of the turn
  bool is_dialer = false;
  bool is_stream_dial = false;
  bool authenticated = false;
  bool was_proven = false;    // no longer counts as half-open
  bool write_wanted = false;  // EPOLLOUT is on
  bool read_paused = false;   // EPOLLIN is off: it is held, and has sent more than is read then
  bool took_leave = false;    // it said Goodbye
  bool end_sent = false;      // kClosing: shutdown(SHUT_WR) is done
  int64_t deadline_ns = INT64_MAX;
  SocketAddress remote;

  // ---- bytes
  std::unique_ptr<TlsSession> tls;
  wire::FrameReader reader;
  Status input_end;           // not OK: nothing follows what `reader` holds, and why
  uint64_t turn = 0;          // of the loop, when frames were taken last
  uint32_t frames_left = 0;   // to be taken in that turn
  bool frames_wait = false;   // `reader` may hold more; nothing is read until they are taken
  size_t unproven_bytes = 0;  // received before the hello was accepted
  std::vector<uint8_t> out;
  size_t out_begin = 0;
  std::deque<Frame> frames;
  std::shared_ptr<Outbox> outbox = std::make_shared<Outbox>();

  // ---- dial
  ControlAddress target;
  std::vector<SocketAddress> candidates;  // not tried yet, in reverse
  std::vector<PeerId> joiners;            // dials that wait for this connection
  Status last_error;

  // ---- hello
  PeerId peer;            // from dial(), or given when the hello is accepted
  wire::Hello hello;      // theirs (acceptor) or ours (dialer)
  wire::Welcome welcome;  // dialer: theirs, while it is held
  PeerInfo info;
  uint64_t session = 0;
  StreamKey stream_key{};
  LinkId waits_for = 0;         // kHeld: decided when that link is up, gone, or has answered
  uint32_t our_unit_bytes = 0;  // as our Describe said
  bool described = false;       // our Describe is queued: broadcasts concern it
  std::vector<Frame> deferred;  // broadcasts before Confirm
  Heartbeats beats;
  // Frames at the head of `frames` that the peer must read before any heartbeat: the acceptor's
  // Confirm.
  size_t hello_frames = 0;

  // ---- data socket
  PathEpoch epoch;
  OpeningBytes opening{};
  AnswerBytes answer{};
  size_t received = 0;  // of opening or answer

  // ---- observer
  bool was_answered = false;
};

}  // namespace baton::control
