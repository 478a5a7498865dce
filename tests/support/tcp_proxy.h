// TcpProxy: stands between a dialing Context and the port of another, and does to their connections
// what networks do: cuts by reset or by end of stream, after an exact number of bytes or at once;
// stalls; delays. It tells control connections and data sockets apart by their first byte
// (docs/wire_format.md, "First bytes"), and counts each kind in order of connection.
//
// Invariants:
//  1. Bytes come out as they went in, in order; what a rule withholds, nobody gets.
//  2. A rule given before its stream exists holds from the stream's first byte on.
//  3. Of a stream that is cut after n bytes of one way, the receiving kernel has acknowledged
//     exactly n bytes of that way before the cut.
//
// Thread rule: thread-safe. One thread of its own moves the bytes. It listens on 127.0.0.1.
#pragma once

#include <poll.h>

#include <chrono>
#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace baton_test {

class TcpProxy {
 public:
  enum class Kind : uint8_t { kControl, kData };
  enum class Way : uint8_t { kToAcceptor, kToDialer };
  enum class Cut : uint8_t { kReset, kFinish };
  // The ordinal-th connection of its kind, from 0.
  struct Stream {
    Kind kind = Kind::kControl;
    uint32_t ordinal = 0;
    friend auto operator<=>(const Stream&, const Stream&) = default;
  };
  static constexpr std::chrono::milliseconds kDefaultLimit = std::chrono::minutes(1);

  // Forwards to 127.0.0.1:`target_port`. Aborts the test program when it cannot listen.
  explicit TcpProxy(uint16_t target_port);
  // Of the port that an address string names: "baton://127.0.0.1:41873/name?auth=none".
  explicit TcpProxy(const std::string& address) : TcpProxy(port_of(address)) {}
  // Resets what is left.
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  static uint16_t port_of(const std::string& address);
  // `address` with this proxy's port in place of its own: what the dialer is given.
  std::string address_of(const std::string& address) const;

  // ---- rules
  // Cuts now; a stream that does not exist yet, at its first byte.
  void cut(Stream stream, Cut cut);
  // Lets `bytes` of this way pass in all, then cuts both ways.
  void cut_after(Stream stream, Way way, uint64_t bytes, Cut cut);
  // Nothing more of this way is passed on until resume(): from now on, when nothing more is read
  // either, or after `bytes` in all, when up to 256 KiB more are read.
  void stall(Stream stream, Way way);
  void stall_after(Stream stream, Way way, uint64_t bytes);
  void resume(Stream stream, Way way);
  // Each byte of this way comes out this much later than it came in; at most 256 KiB wait.
  void delay(Stream stream, Way way, std::chrono::milliseconds by);
  // While true, new connections are reset as soon as they are accepted.
  void refuse(bool refuse);

  // ---- what happened
  // Streams of this kind so far, the dead ones too: the ordinal of the next.
  uint32_t count(Kind kind) const;
  // Bytes passed on so far.
  uint64_t forwarded(Stream stream, Way way) const;
  // Both sockets of it are gone.
  bool is_over(Stream stream) const;
  // Bounded waits for the above.
  bool wait_count(Kind kind, uint32_t count, std::chrono::milliseconds limit = kDefaultLimit) const;
  bool wait_forwarded(Stream stream, Way way, uint64_t bytes,
                      std::chrono::milliseconds limit = kDefaultLimit) const;
  bool wait_over(Stream stream, std::chrono::milliseconds limit = kDefaultLimit) const;

 private:
  static constexpr uint64_t kNoLimit = UINT64_MAX;
  enum class Action : uint8_t { kNone, kReset, kFinish };
  struct FlowRule {
    uint64_t limit_bytes = kNoLimit;
    Action at_limit = Action::kNone;  // kNone: it stalls
    bool stalled = false;
    std::chrono::milliseconds delay{0};
  };
  struct Rule {
    FlowRule flows[2];  // by Way
    Action now = Action::kNone;
  };
  struct Chunk {
    std::chrono::steady_clock::time_point due;
    std::vector<uint8_t> bytes;
    size_t done = 0;
  };
  struct Flow {
    std::deque<Chunk> chunks;
    uint64_t queued_bytes = 0;
    uint64_t forwarded_bytes = 0;
    bool source_ended = false;
    bool target_shut = false;
  };
  struct Connection {
    int fds[2] = {-1, -1};  // [0]: the dialer's end, [1]: the acceptor's
    Flow flows[2];          // by Way
    bool known = false;     // its first byte came
    Stream stream;
    Action ending = Action::kNone;  // a cut waits for acknowledgements
    bool finishing = false;         // both ways were shut; what still comes is thrown away
    bool over = false;
    std::chrono::steady_clock::time_point ending_since;
  };

  void run();
  void accept_one();
  void serve(Connection& connection);
  void identify(Connection& connection, uint8_t first);
  void read_some(Connection& connection, size_t way);
  void write_some(Connection& connection, size_t way);
  void end(Connection& connection, Action action);
  static bool is_acknowledged(const Connection& connection);
  static void discard(Connection& connection);
  static void close_both(Connection& connection);
  static void reset(Connection& connection);
  FlowRule rule_of(const Connection& connection, size_t way) const;
  uint64_t left_of(const Connection& connection, size_t way) const;
  void add_polled(const Connection& connection, std::vector<::pollfd>* polled,
                  int* timeout_ms) const;
  void change(Stream stream, const std::function<void(Rule&)>& edit);
  const Connection* find(Stream stream) const;

  uint16_t target_port_;
  uint16_t port_ = 0;
  int listener_ = -1;
  int waker_ = -1;
  mutable std::mutex mutex_;
  bool stop_ = false;
  bool refuse_ = false;
  uint32_t counts_[2] = {0, 0};
  std::map<Stream, Rule> rules_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::thread thread_;
};

}  // namespace baton_test
