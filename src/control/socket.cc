#include "src/control/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace baton::control {

namespace {

Status failed(const char* call, const SocketAddress& address) {
  const int error = errno;
  StatusCode code = StatusCode::kIoError;
  if (error == EADDRINUSE) code = StatusCode::kAddressInUse;
  if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM)
    code = StatusCode::kExhausted;
  return Status(code, std::string(call) + " " + address.text() + ": " + std::strerror(error));
}

Result<std::vector<SocketAddress>> look_up(const std::string& host, uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int rc = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (rc != 0) {
    return Status(StatusCode::kNotFound, "host \"" + host + "\": " + gai_strerror(rc));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    SocketAddress address;
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.length = one->ai_addrlen;
    addresses.push_back(address);
  }
  if (addresses.empty())
    return Status(StatusCode::kNotFound, "host \"" + host + "\" has no address");
  return addresses;
}

}  // namespace

std::string SocketAddress::host_text() const {
  char host[NI_MAXHOST] = {};
  const int rc = getnameinfo(reinterpret_cast<const sockaddr*>(&storage), length, host,
                             sizeof(host), nullptr, 0, NI_NUMERICHOST);
  return rc == 0 ? host : "?";
}

std::string SocketAddress::text() const {
  const std::string host = host_text();
  const std::string shown = storage.ss_family == AF_INET6 ? "[" + host + "]" : host;
  return shown + ":" + std::to_string(port());
}

uint16_t SocketAddress::port() const {
  return storage.ss_family == AF_INET6
             ? ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port)
             : ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

void SocketAddress::set_port(uint16_t port) {
  if (storage.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(storage).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(storage).sin_port = htons(port);
  }
}

bool SocketAddress::is_loopback() const {
  if (storage.ss_family == AF_INET6) {
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr) != 0;
  }
  return ntohl(reinterpret_cast<const sockaddr_in&>(storage).sin_addr.s_addr) >> 24 == 127;
}

Result<SocketAddress> numeric_address(const std::string& host, uint16_t port) {
  auto found = look_up(host == "localhost" ? "127.0.0.1" : host, port, AI_NUMERICHOST);
  if (found.is_ok()) return found->front();
  return Status(StatusCode::kInvalidArgument, "\"" + host + "\" is no IPv4 or IPv6 address");
}

Result<std::vector<SocketAddress>> resolve_address(const std::string& host, uint16_t port) {
  auto numeric = numeric_address(host, port);
  if (numeric.is_ok()) return std::vector<SocketAddress>{numeric.value()};
  return look_up(host, port, AI_ADDRCONFIG);
}

Result<base::UniqueFd> listen_on(const SocketAddress& address) {
  base::UniqueFd fd(
      socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failed("socket for", address);
  // A restarted process takes its port back while old connections linger; a live listener still
  // keeps it.
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.storage.ss_family == AF_INET6 && !address.is_loopback()) {
    const int off = 0;  // "::" takes IPv4, too
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0) {
    return failed("bind", address);
  }
  if (listen(fd.get(), SOMAXCONN) != 0) return failed("listen", address);
  return fd;
}

Result<base::UniqueFd> begin_connect(const SocketAddress& address) {
  base::UniqueFd fd(
      socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failed("socket for", address);
  set_no_delay(fd.get());
  const int rc =
      connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length);
  if (rc != 0 && errno != EINPROGRESS && errno != EINTR) return failed("connect", address);
  return fd;
}

int connect_error(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

void set_no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

SocketAddress local_address(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    address.length = 0;
  return address;
}

SocketAddress remote_address(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    address.length = 0;
  return address;
}

}  // namespace baton::control
