// Endpoint: a ControlPlane with a handler that records what it is told.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/control/control_plane.h"

namespace baton_test {

// 32 bytes that differ by `seed`.
baton::control::Secret test_secret(uint8_t seed);
baton::control::ControlOptions test_options(const std::string& name);
// The same with test_secret(secret).
baton::control::ControlOptions secret_options(const std::string& name, uint8_t secret = 1);
// Open descriptors of this process.
size_t count_open_fds();

class Endpoint final : public baton::control::ControlHandler {
 public:
  // The clock is borrowed, and manual when given; null: the monotonic one.
  explicit Endpoint(baton::control::ControlOptions options,
                    baton::base::ManualClock* clock = nullptr);
  ~Endpoint() override;

  baton::control::ControlPlane& plane() { return *plane_; }
  const baton::Status& started() const { return started_; }
  void stop() { plane_.reset(); }
  std::string address() { return plane_->address(); }

  // Moves a manual clock, and returns when the control thread has done all that was due then.
  void advance_ms(int64_t ms);
  // The control thread has done all that it was asked for and all that it could read, before.
  void settle();

  // What describe_self and check_peer answer. Set before anybody connects.
  baton::wire::Describe describe;
  std::function<baton::Status(const baton::wire::Describe&)> check;

  // Each waits up to 20 s; a peer or status of nothing means that it did not happen.
  baton::PeerId wait_up(size_t nth = 0);
  std::optional<baton::Status> wait_down(baton::PeerId peer);
  std::optional<baton::Status> wait_dial_failed(baton::PeerId dialed);
  baton::PeerId wait_joined(baton::PeerId dialed);
  bool wait_messages(size_t count);
  bool wait_log(const std::string& part);
  baton::base::UniqueFd wait_stream();
  std::optional<baton::Status> wait_stream_failed(size_t nth = 0);
  bool wait_for(const std::function<bool()>& done);  // under the lock
  // dial() that must be taken. A peer of nothing: it was refused, or did not come up.
  baton::PeerId dial(const std::string& address);
  baton::PeerId dial_and_wait(const std::string& address);

  size_t count_ups();
  bool is_down(baton::PeerId peer);
  bool has_failed(baton::PeerId dialed);

  // Under the lock: use within wait_for, or when the plane is stopped.
  std::vector<std::pair<baton::PeerId, baton::control::PeerInfo>> ups;
  std::map<baton::PeerId, baton::Status> downs;
  std::map<baton::PeerId, baton::Status> failed_dials;
  std::map<baton::PeerId, baton::PeerId> joined;
  std::vector<std::pair<baton::PeerId, baton::wire::Message>> messages;
  std::vector<std::pair<baton::PathEpoch, baton::base::UniqueFd>> streams;
  std::vector<baton::Status> failed_streams;
  std::vector<int64_t> echoes;
  std::vector<int64_t> alarms;
  std::vector<std::string> log;
  std::vector<std::string> order;  // "up 1", "down 1": of all peers
  std::vector<int64_t> silences;   // of peers lost without a Goodbye
  // What observers are told. Set before anybody asks.
  std::function<std::string(baton::wire::StateFormat)> state;
  std::function<int64_t(int64_t)> alarm;  // what on_alarm returns; INT64_MAX without it
  std::function<void()> on_each_message;  // called on the control thread, without the lock

 private:
  std::optional<baton::Status> wait_in(const std::map<baton::PeerId, baton::Status>& map,
                                       baton::PeerId peer);
  baton::wire::Describe describe_self() override { return describe; }
  baton::Status check_peer(const baton::wire::Describe& theirs) override;
  void on_peer_up(baton::PeerId peer, const baton::control::PeerInfo& info) override;
  void on_dial_failed(baton::PeerId dialed, const baton::Status& why) override;
  void on_dial_joined(baton::PeerId dialed, baton::PeerId existing) override;
  void on_peer_down(baton::PeerId peer, const baton::Status& why) override;
  void on_message(baton::PeerId peer, baton::wire::Message&& message) override;
  void on_heartbeat_echo(baton::PeerId peer, int64_t sent_ns) override;
  void on_stream(baton::PeerId peer, baton::PathEpoch epoch, baton::base::UniqueFd stream) override;
  void on_stream_failed(baton::PeerId peer, baton::PathEpoch epoch,
                        const baton::Status& why) override;
  void on_peer_lost_after(baton::PeerId peer, int64_t silent_ns) override;
  std::string describe_state(baton::wire::StateFormat format) override {
    return state ? state(format) : "";
  }
  int64_t on_alarm(int64_t now_ns) override;

  baton::base::ManualClock* const manual_;
  std::mutex mutex_;
  std::condition_variable changed_;
  baton::base::MonotonicClock monotonic_;
  baton::base::Logger logger_;
  baton::Status started_;
  std::unique_ptr<baton::control::ControlPlane> plane_;
};

}  // namespace baton_test
