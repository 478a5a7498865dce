// SimNetwork: the control network of a simulation, and SimControl: one member's end of it, in place
// of a ControlPlane. Messages go through wire::encode and wire::decode, arrive after a latency, in
// order per connection and direction; connections are dialled, refused, joined, lost, fall silent.
//
// What is simplified: no TLS, no version range; a listener is asked by its name. The hello is that
// of src/control (Hello, Welcome, Describe, Confirm), with its crossing dials and known sessions; a
// process that took another's name is let in when the old one does not answer within a second.
//
// Thread rule: one thread, the World's. Callbacks come from the World's step(), never from within a
// call of a member.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "baton/ids.h"
#include "src/control/control_interface.h"
#include "tests/simulation/world.h"

namespace baton_test {

class SimControl;
class SimNetwork;

// One end of a connection. Ends name each other by number; an end that has gone is not found.
struct SimEnd {
  enum class Stage : uint8_t { kDialling, kHello, kHeld, kDescribe, kConfirm, kUp, kClosed };

  uint32_t number = 0;
  uint32_t other = 0;  // the other side's end; 0: it has not been reached
  SimControl* owner = nullptr;
  Stage stage = Stage::kDialling;
  bool is_dialer = false;
  std::string target;  // a dialer's: whom it dials
  baton::PeerId peer;  // 0: a listener's that was not accepted
  uint64_t session = 0;
  uint32_t our_unit_bytes = 0;
  bool is_known = false;  // the other side's name is: hello accepted
  baton::control::PeerInfo info;
  baton::wire::Hello hello;  // a listener's
  uint32_t waits_for = 0;    // kHeld: the end that decides
  std::vector<baton::PeerId> joiners;
  std::vector<std::vector<uint8_t>> deferred;  // told to those who are not up yet
  bool is_described = false;
  // Heartbeats.
  uint64_t sent_seq = 0;
  uint64_t their_seq = 0;
  std::map<uint64_t, int64_t> beats;  // sent and not echoed
  int64_t next_beat_ns = 0;           // of the owner's clock, as the next
  int64_t last_received_ns = 0;
  uint64_t probe = 0;
  uint32_t timer = 0;           // number of the one that counts
  bool is_deaf = false;         // nothing arrives here any more
  int64_t last_arrival_ns = 0;  // of what this end sent
};

struct SimNetworkShape {
  int64_t latency_min_ns = 5'000;
  int64_t latency_max_ns = 60'000;
  uint32_t slow_percent = 2;  // of the messages take up to slow_ns
  int64_t slow_ns = 3'000'000;
};

class SimNetwork {
 public:
  SimNetwork(World& world, const SimNetworkShape& shape) : world_(world), shape_(shape) {}
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  World& world() { return world_; }
  // The one of that name that listens now; null: nobody.
  SimControl* listener(const std::string& name) const;
  void add(SimControl* control);
  void remove(SimControl* control);

  // ---- faults
  // Members a and b hear nothing of each other until then, and all of it after that.
  void partition(uint32_t a, uint32_t b, int64_t until_ns);
  // The connections of a and b carry nothing any more; each side notices at once, or by the
  // silence. False: there is none.
  bool cut(uint32_t a, uint32_t b, bool a_notices, bool b_notices);

  // ---- for SimControl
  SimEnd& new_end(SimControl* owner);
  SimEnd* find(uint32_t number);
  void drop_end(uint32_t number);
  std::map<uint32_t, SimEnd>& ends() { return ends_; }
  // To the other side of `from`, behind what it sent before. No bytes: the end of the stream.
  void transmit(SimEnd& from, std::vector<uint8_t> frame);
  int64_t latency_ns();
  // When something that `from` sends to `to` now would arrive.
  int64_t arrival_ns(const SimControl& from, const SimControl& to);
  uint64_t messages_of(const std::string& name) const;
  void count(const char* name) { ++messages_[name]; }

 private:
  World& world_;
  const SimNetworkShape shape_;
  std::map<std::string, SimControl*> listeners_;
  std::map<uint32_t, SimEnd> ends_;
  uint32_t last_end_ = 0;
  std::map<std::pair<uint32_t, uint32_t>, int64_t> partitions_;  // pairs of members, until when
  std::map<std::string, uint64_t> messages_;
};

class SimControl final : public baton::control::ControlInterface {
 public:
  // How a member's own time runs: what it does waits while it is frozen.
  struct Member {
    uint32_t index = 0;
    const MemberClock* clock = nullptr;
    // Runs `what` at that time of the world, or when the member thaws. A timer runs behind what
    // arrived meanwhile.
    std::function<void(int64_t at_ns, bool is_timer, std::function<void()> what)> at;
    // A callback has run: there may be work for its progress().
    std::function<void()> wake;
    // Credits are about to be taken; may be empty.
    std::function<void()> on_credits;
  };

  SimControl(SimNetwork& network, Member member, baton::control::ControlOptions options,
             baton::control::ControlHandler* handler);
  ~SimControl() override;

  uint32_t member() const { return member_.index; }
  const Member& who() const { return member_; }
  const std::string& name() const { return options_.name; }
  bool is_running() const { return is_running_; }
  // A dial of that name has no answer yet.
  bool is_dialling(const std::string& target);
  // Its process is killed: no Goodbye, no callback. `is_told`: the others read the end of the
  // stream, as a kernel would send it; otherwise they hear nothing.
  void kill(bool is_told);
  // Its clock has jumped.
  void look_at_timers();

  // ---- ControlInterface
  baton::Status begin() override;
  const std::string& address() const override { return address_; }
  const baton::BootId& boot_id() const override { return boot_id_; }
  baton::Result<baton::PeerId> dial(std::string_view address) override;
  baton::Status send(baton::PeerId peer, const baton::wire::Message& message) override;
  baton::Status broadcast(const baton::wire::Message& message) override;
  size_t unsent_bytes(baton::PeerId) const override { return 0; }
  void disconnect(baton::PeerId peer, const baton::Status& why) override;
  // Nobody waits for a dial here, so nobody stops waiting.
  void abandon_dial(baton::PeerId, const baton::Status&) override {}
  baton::Result<baton::wire::StreamTicket> expect_stream(baton::PeerId peer,
                                                         baton::PathEpoch epoch) override;
  void open_stream(baton::PeerId peer, baton::PathEpoch epoch,
                   const baton::wire::StreamTicket& ticket) override;
  void set_alarm(int64_t at_ns) override;
  void stop() override;

  // ---- for SimNetwork
  void frame_arrived(uint32_t end, const std::vector<uint8_t>& frame);
  void fail(SimEnd& end, const baton::Status& why);

 private:
  using Stage = SimEnd::Stage;

  World& world() { return network_.world(); }
  // `what(end)` in this member's time, if the end still exists then.
  template <typename What>
  void later(int64_t at_ns, bool is_timer, uint32_t end, What what);
  std::vector<SimEnd*> own_ends();
  SimEnd* end_of(baton::PeerId peer);
  void queue(SimEnd& end, const baton::wire::Message& message);

  // sim_hello.cc
  void reached(uint32_t dialer, baton::wire::Hello hello);
  void decide_hello(SimEnd& end);
  SimEnd* other_of_name(const SimEnd& end, const std::string& name);
  bool settle_with_other(SimEnd& end, SimEnd& other);
  void refuse(SimEnd& end, const baton::Status& why, uint64_t session);
  void hold(SimEnd& end, const SimEnd& other, int64_t timeout_ns);
  void held_too_long(SimEnd& end);
  void decide_held(uint32_t other);
  void on_welcome(SimEnd& end, const baton::wire::Welcome& welcome);
  void join_session(SimEnd& end, uint64_t session, const baton::Status& why);
  void on_describe(SimEnd& end, baton::wire::Describe describe);
  void peer_up(SimEnd& end);

  // sim_control.cc
  void on_heartbeat(SimEnd& end, const baton::wire::Heartbeat& beat);
  void beat_or_die(SimEnd& end);
  void set_timer(SimEnd& end);
  void leave(SimEnd& end, const baton::Status& why);
  void end_peer(SimEnd& end, const baton::Status& why);
  void close_end(SimEnd& end);
  void alarm();

  SimNetwork& network_;
  const Member member_;
  const baton::control::ControlOptions options_;
  baton::control::ControlHandler* const handler_;
  std::string address_;
  baton::BootId boot_id_{};
  uint64_t incarnation_ = 0;
  uint32_t last_peer_ = 0;
  int64_t alarm_ns_ = INT64_MAX;
  bool is_running_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton_test
