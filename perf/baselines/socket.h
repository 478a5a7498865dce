// Stream sockets of the baselines.
//
// Ownership: RAII. Thread rule: as a descriptor.
#pragma once

#include <cstdint>
#include <string>

#include "baton/status.h"

namespace baton_perf {

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  // Wakes whoever blocks on it, with an end of stream. Any thread, while the Socket lives.
  void shut_down() const;

 private:
  int fd_ = -1;
};

struct SocketAddress {
  std::string host;
  uint16_t port = 0;
};

// kIoError: host, port and errno. Port 0: an ephemeral one.
baton::Result<Socket> listen_on(const SocketAddress& address);
baton::Result<uint16_t> local_port(const Socket& socket);
// Blocks until somebody connects, or shut_down().
baton::Result<Socket> accept_one(const Socket& listener);
// As the tcp plug-in does with its own sockets: between two ends of one host the system's
// congestion control gives way to reno, which does not pace. Without effect elsewhere.
void set_unpaced_within_host(const Socket& socket);
// kPeerLost: nobody listens there.
baton::Result<Socket> dial(const SocketAddress& address);

}  // namespace baton_perf
