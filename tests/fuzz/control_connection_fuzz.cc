// Any bytes on a connection leave the control plane in service: a connection that said them ends,
// and its peer, if it was one, goes down once. The first byte says how far a good hello came
// before: nothing, the preface, Hello, Description (the connection is up then).
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "src/control/address.h"
#include "src/control/control_plane.h"
#include "src/control/socket.h"
#include "src/control/stream_proof.h"
#include "tests/unit/wire/sample_messages.h"

namespace {

namespace control = baton::control;
namespace wire = baton::wire;
using baton::PeerId;
using baton::Status;

void require(bool condition) {
  if (!condition) std::abort();
}

class Handler final : public control::ControlHandler {
 public:
  wire::Describe describe_self() override { return baton_test::sample_describe(); }
  Status check_peer(const wire::Describe&) override { return Status::ok(); }
  void on_peer_up(PeerId, const control::PeerInfo&) override { ++up_; }
  void on_dial_failed(PeerId, const Status&) override { std::abort(); }
  void on_dial_joined(PeerId, PeerId) override { std::abort(); }
  void on_peer_down(PeerId, const Status& why) override {
    require(!why.is_ok() && up_ > 0);
    --up_;
  }
  void on_message(PeerId, wire::Message&&) override { require(up_ > 0); }
  void on_heartbeat_echo(PeerId, int64_t) override { require(up_ > 0); }
  void on_stream(PeerId, baton::PathEpoch, baton::base::UniqueFd) override { std::abort(); }
  void on_stream_failed(PeerId, baton::PathEpoch, const Status&) override { std::abort(); }
  int64_t on_alarm(int64_t) override { return INT64_MAX; }

 private:
  size_t up_ = 0;  // control thread
};

struct Plane {
  Plane() {
    control::ControlOptions options;
    options.name = "decode-0";
    options.limits.goodbye_timeout_ms = 60'000;
    auto started = control::ControlPlane::start(options, &handler, logger, clock);
    require(started.is_ok());
    plane = std::move(started).value();
    const auto parsed = control::parse_address(plane->address());
    address = control::numeric_address(parsed->host, parsed->port).value();
  }

  Handler handler;
  baton::base::Logger logger{baton::LogLevel::kOff};
  baton::base::MonotonicClock clock;
  control::SocketAddress address;
  std::unique_ptr<control::ControlPlane> plane;
};

void send_all(int fd, std::span<const uint8_t> bytes) {
  // Refused before all of it has left: the other side has closed.
  ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void send_message(int fd, const wire::Message& message) {
  const auto frame = wire::encode(message);
  require(frame.is_ok());
  send_all(fd, *frame);
}

// Incarnations rise, so that no hello waits for the connection before it to end.
wire::Hello next_hello() {
  static uint64_t incarnation = 0;
  wire::Hello hello;
  hello.protocol_min = hello.protocol_max = control::kProtocolVersion;
  hello.name = "prefill-0";
  hello.boot_id[0] = 1;
  hello.incarnation = ++incarnation;
  hello.address = "baton://127.0.0.1:1/prefill-0";
  return hello;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Plane plane;
  if (size < 1) return 0;
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(fd >= 0);
  // The port of a connection that was reset can be used again at once.
  const linger at_once{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  require(::connect(fd, reinterpret_cast<const sockaddr*>(&plane.address.storage),
                    plane.address.length) == 0);
  const int steps = data[0] % 4;
  if (steps >= 1) send_all(fd, control::kControlPreface);
  if (steps >= 2) send_message(fd, next_hello());
  std::array<uint8_t, 4096> sink;
  if (steps >= 2) require(::recv(fd, sink.data(), sink.size(), 0) > 0);
  if (steps >= 3) send_message(fd, baton_test::sample_describe());
  send_all(fd, std::span(data + 1, size - 1));
  ::shutdown(fd, SHUT_WR);
  while (::recv(fd, sink.data(), sink.size(), 0) > 0) {
  }
  ::close(fd);
  return 0;
}
