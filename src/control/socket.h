// The few socket calls of the control plane: TCP, non-blocking, close-on-exec, IPv4 and IPv6.
//
// Thread rule: pure functions on values and descriptors.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "baton/status.h"
#include "src/base/unique_fd.h"

namespace baton::control {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  std::string text() const;       // "127.0.0.1:80", "[::1]:80"
  std::string host_text() const;  // "127.0.0.1", "::1"
  uint16_t port() const;
  void set_port(uint16_t port);
  bool is_loopback() const;
};

// Numeric IPv4 or IPv6 (with scope), or "localhost" (IPv4 loopback). Does not block.
// kInvalidArgument otherwise.
Result<SocketAddress> numeric_address(const std::string& host, uint16_t port);
// As above, and host names by the resolver, which may block. kNotFound.
Result<std::vector<SocketAddress>> resolve_address(const std::string& host, uint16_t port);

// kAddressInUse names the address; kIoError, kExhausted.
Result<base::UniqueFd> listen_on(const SocketAddress& address);
// A connection in progress: writable when it is decided, connect_error() then says how.
Result<base::UniqueFd> begin_connect(const SocketAddress& address);
int connect_error(int fd);
// Errors are ignored: without it everything works, slower.
void set_no_delay(int fd);
SocketAddress local_address(int fd);
SocketAddress remote_address(int fd);

}  // namespace baton::control
