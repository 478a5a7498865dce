// ControlPlaneImpl: the state of the control thread, and the mailbox through which others reach it.
//
// Everything that is not under "any thread" belongs to the control thread. Its functions are spread
// over control_plane.cc (mailbox), control_loop.cc (sockets and time), control_hello.cc (from Hello
// to up), control_peers.cc (life and end of a peer), control_observers.cc (who only looks) and
// control_streams.cc (data sockets).
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "src/base/event_fd.h"
#include "src/base/thread.h"
#include "src/control/control_plane.h"
#include "src/control/link.h"

namespace baton::control {

struct DialCommand {
  PeerId peer;
  ControlAddress target;
  std::vector<SocketAddress> candidates;
};
struct SendCommand {
  PeerId peer;
  Frame frame;
};
struct BroadcastCommand {
  Frame frame;
};
struct DisconnectCommand {
  PeerId peer;
  Status why;
};
struct AbandonDialCommand {
  PeerId dialed;
  Status why;
};
struct OpenStreamCommand {
  PeerId peer;
  PathEpoch epoch;
  wire::StreamTicket ticket{};
};
// An expected stream has a deadline.
struct ExpectCommand {};

using ControlCommand = std::variant<DialCommand, SendCommand, BroadcastCommand, DisconnectCommand,
                                    AbandonDialCommand, OpenStreamCommand, ExpectCommand>;

class ControlPlaneImpl {
 public:
  ControlPlaneImpl(ControlOptions options, ControlHandler* handler, base::Logger& logger,
                   base::Clock& clock);
  ~ControlPlaneImpl();

  Status open();
  Status begin();

  // ---- any thread (control_plane.cc)
  Result<PeerId> dial(std::string_view address);
  Status send(PeerId peer, const wire::Message& message);
  size_t unsent_bytes(PeerId peer) const;
  Status broadcast(const wire::Message& message);
  void post(ControlCommand command);
  Result<wire::StreamTicket> expect_stream(PeerId peer, PathEpoch epoch);
  void set_alarm(int64_t at_ns);
  void stop();
  Status is_stopped() const;  // what a call after stop() returns
  const std::string& address() const { return address_; }
  const BootId& boot_id() const { return options_.boot_id; }

 private:
  struct Ticket {
    PeerId peer;
    PathEpoch epoch;
    wire::StreamTicket secret{};
    int64_t deadline_ns = 0;
  };

  // ---- control_loop.cc
  void run();
  void wait_for_events();
  void wake();
  void run_commands();
  void execute(DialCommand& command);
  void execute(SendCommand& command);
  void execute(BroadcastCommand& command);
  void execute(DisconnectCommand& command);
  void execute(AbandonDialCommand& command);
  void execute(OpenStreamCommand& command);
  void execute(ExpectCommand& command);
  void accept_all();
  size_t count_no_peers(bool proven) const;
  void drop_oldest(bool proven);
  Link& add_link(Stage stage, base::UniqueFd fd);
  void watch(Link& link, bool add);
  void on_event(Link& link, uint32_t events);
  void on_readable(Link& link);
  void resume_reading(Link& link);
  Status read_first_byte(Link& link);
  Status read_preface(Link& link);
  Status read_bytes(Link& link, bool& more);
  Status take_bytes(Link& link, std::span<const uint8_t> bytes);
  Status take_frames(Link& link);
  void take_frames_that_wait();
  void flush(Link& link);
  void run_timers();
  void link_timer(Link& link, int64_t now_ns);
  void want_timer(int64_t at_ns) { next_timer_ns_ = std::min(next_timer_ns_, at_ns); }
  void set_deadline(Link& link, uint32_t timeout_ms);
  void sweep();
  void flush_all();
  void queue_last_messages();
  static bool end_stream(Link& link);
  void say_goodbye_to_all();
  Link* find_link(LinkId id);
  Link* find_peer(PeerId peer);

  // ---- control_hello.cc
  void dial_next(Link& link);
  void on_connected(Link& link);
  void send_hello(Link& link);
  Status on_frame(Link& link, std::span<const uint8_t> frame);
  Status on_handshake_message(Link& link, wire::Message& message);
  void decide_hello(Link& link);
  Link* other_of_name(const Link& link, const std::string& name);
  bool settle_with_other(Link& link, Link& other);
  void accept_hello(Link& link, uint16_t version, uint64_t features);
  void refuse_hello(Link& link, const Status& why, uint64_t session);
  Status on_welcome(Link& link, const wire::Welcome& welcome);
  bool settle_as_dialer(Link& link, Link& other);
  void held_too_long(Link& link);
  void join_session(Link& link, uint64_t session, const Status& why);
  Status on_describe(Link& link, wire::Describe& describe);
  void hold(Link& link, LinkId other, uint32_t timeout_ms);
  void decide_held(LinkId other);

  // ---- control_observers.cc
  void accept_observer(Link& link, uint16_t version, uint64_t features);
  Status on_observer_message(Link& link, const wire::Message& message);

  // ---- control_peers.cc
  Status queue(Link& link, const wire::Message& message);
  void peer_up(Link& link);
  void fail(Link& link, const Status& why);
  void close_politely(Link& link, const Status& why);
  void end_peer(Link& link, const Status& why);
  void linger(Link& link);
  void drop(Link& link);
  Status on_peer_message(Link& link, wire::Message& message);
  Status on_heartbeat(Link& link, const wire::Heartbeat& beat);
  Status said_goodbye(const Link& link, const wire::Goodbye& goodbye) const;
  void peer_timer(Link& link, int64_t now_ns);
  void start_probe(Link& link);

  // ---- control_streams.cc
  void on_stream_readable(Link& link);
  Status read_exactly(Link& link, std::span<uint8_t> into);
  Status on_opening(Link& link);
  void hand_over(Link& link);
  void fail_stream(Link& link, const Status& why);
  void expire_tickets(int64_t now_ns);
  void forget_tickets(PeerId peer);

  ControlOptions options_;
  ControlHandler* const handler_;
  base::Logger& logger_;
  base::Clock& clock_;
  std::string address_;
  std::unique_ptr<TlsContext> tls_;
  base::Thread thread_;

  // ---- any thread
  mutable std::mutex mutex_;
  std::vector<ControlCommand> mailbox_;                           // guarded by mutex_
  std::unordered_map<PeerId, std::shared_ptr<Outbox>> outboxes_;  // of peers that are up; mutex_
  std::vector<Ticket> tickets_;                                   // guarded by mutex_
  bool stopped_ = false;                                          // guarded by mutex_
  std::mutex stop_mutex_;                                         // serialises stop()
  // Set by the control thread before it looks into the mailbox for the last time before it sleeps.
  // seq_cst on both sides: either it sees the command, or the sender sees that it sleeps.
  std::atomic<bool> sleeps_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> alarm_ns_{INT64_MAX};
  std::atomic<uint32_t> next_peer_{1};
  base::UniqueFd epoll_;
  base::UniqueFd listener_;
  std::optional<base::EventFd> event_;  // set by start()

  // ---- control thread
  std::map<LinkId, std::unique_ptr<Link>> links_;  // by age
  std::unordered_map<PeerId, LinkId> by_peer_;     // dials, and peers that are being made or up
  LinkId next_link_ = 2;                           // 0 and 1 name the eventfd and the listener
  uint64_t incarnation_ = 0;
  int64_t next_timer_ns_ = INT64_MAX;
  int64_t accept_again_ns_ = INT64_MAX;  // the listener rests: no descriptors were left
  uint64_t turn_ = 0;
  bool frames_wait_ = false;   // some link may have frames that did not fit into its turn
  bool output_waits_ = false;  // some link may have output that was not offered to its socket
  std::vector<ControlCommand> batch_;
  std::vector<uint8_t> read_buffer_;
  std::vector<uint8_t> plain_;
};

}  // namespace baton::control
