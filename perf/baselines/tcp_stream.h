// The one-stream TCP baseline: what a careful programmer gets out of one socket for the same work.
//
// A batch is its index and the target (write) or source (read) offsets of its runs, then their
// bytes, gathered by sendmsg straight from the source buffer and scattered by recvmsg straight into
// the target buffer. The receiver of a written batch answers with its index once all its bytes are
// in memory; a read batch is done when its bytes are. Blocking calls, TCP_NODELAY, the kernel's own
// buffer tuning. A tuned stream also has the congestion control that the tcp plug-in gives its own.
//
//   client -> server: token (16 bytes), runs u32, operation u32, run_bytes u64, tuned u64; then per
//   batch: index u64,
//                     runs x offset u64, and for writes the bytes
//   server -> client: per batch: index u64, and for reads the bytes
// Numbers are in the host's order: both ends are this program on like machines.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "baton/status.h"
#include "perf/baselines/socket.h"
#include "perf/baselines/vector_io.h"
#include "perf/lib/places.h"
#include "perf/lib/subject.h"

namespace baton_perf {

// What the client must show: others who find the port are not served.
using StreamToken = std::array<uint8_t, 16>;
StreamToken random_token();

// The side that is written to or read from. It serves one client on a thread of its own.
class TcpStreamServer {
 public:
  // `memory` outlives the server.
  static baton::Result<std::unique_ptr<TcpStreamServer>> create(const std::string& bind_host,
                                                                const StreamToken& token,
                                                                std::span<uint8_t> memory);
  // Ends the connection and waits for the thread.
  ~TcpStreamServer();
  TcpStreamServer(const TcpStreamServer&) = delete;
  TcpStreamServer& operator=(const TcpStreamServer&) = delete;

  uint16_t port() const { return port_; }
  // Whoever reads n sees the bytes of n batches in memory (acquire; the partner is the release
  // after each batch).
  uint64_t batches_served() const { return batches_served_.load(std::memory_order_acquire); }

 private:
  struct Session;

  TcpStreamServer(StreamToken token, std::span<uint8_t> memory) : token_(token), memory_(memory) {}
  void run();
  baton::Status serve(const Socket& socket);
  baton::Status serve_batch(const Socket& socket, Session& session);

  const StreamToken token_;
  const std::span<uint8_t> memory_;
  uint16_t port_ = 0;
  Socket listener_;
  std::atomic<uint64_t> batches_served_{0};
  std::mutex mutex_;  // guards connection_ and stopping_
  Socket connection_;
  bool stopping_ = false;
  std::thread thread_;
};

// The side that moves.
class TcpStreamClient final : public Subject {
 public:
  struct Options {
    SocketAddress server;
    StreamToken token{};
    Operation operation = Operation::kWrite;
    uint32_t in_flight = 1;
    bool is_tuned = false;
  };

  // `memory` and `places` outlive the client. kPeerLost: nobody listens.
  static baton::Result<std::unique_ptr<TcpStreamClient>> connect(const Options& options,
                                                                 std::span<uint8_t> memory,
                                                                 const Places& places);

  std::string_view name() const override { return options_.is_tuned ? "tcp-tuned" : "tcp"; }
  baton::Status submit(uint64_t index) override;
  baton::Result<uint64_t> wait_one() override;

 private:
  TcpStreamClient(const Options& options, std::span<uint8_t> memory, const Places& places);
  void begin_request(uint64_t index);
  baton::Status send_pending(int flags);
  baton::Result<uint64_t> wait_written();
  baton::Result<uint64_t> wait_read();

  const Options options_;
  const std::span<uint8_t> memory_;
  const Places& places_;
  Socket socket_;
  std::deque<uint64_t> unsent_;    // batches that wait for the one being sent
  std::vector<uint64_t> request_;  // index and offsets of the batch being sent
  VectorCursor outgoing_;
  VectorCursor incoming_;
};

}  // namespace baton_perf
