#include "perf/baselines/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

void Socket::shut_down() const {
  if (fd_ >= 0) ::shutdown(fd_, SHUT_RDWR);
}

namespace {

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

std::string text_of(const SocketAddress& address) {
  return address.host + ", port " + std::to_string(address.port);
}

Status failed(const std::string& what, const SocketAddress& address, const char* why,
              StatusCode code = StatusCode::kIoError) {
  return {code, "baseline tcp: " + what + " " + text_of(address) + ": " + why};
}

Result<Addresses> resolve(const SocketAddress& address, bool passive) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* list = nullptr;
  const int error =
      ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &list);
  if (error != 0) return failed("resolve", address, ::gai_strerror(error));
  return Addresses(list);
}

Result<Socket> open_socket(const addrinfo& info) {
  Socket socket(::socket(info.ai_family, info.ai_socktype | SOCK_CLOEXEC, info.ai_protocol));
  if (!socket.is_open()) {
    return {StatusCode::kIoError, std::string("baseline tcp: socket: ") + std::strerror(errno)};
  }
  return socket;
}

Result<std::string> numeric_host(const Socket& socket,
                                 int (*get_name)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  std::array<char, NI_MAXHOST> host{};
  if (get_name(socket.fd(), raw, &length) != 0 ||
      ::getnameinfo(raw, length, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return {StatusCode::kIoError, "baseline tcp: an end of the connection has no address"};
  }
  return std::string(host.data());
}

// Batches end in small pieces (acknowledgements) that nobody should wait for.
void set_no_delay(const Socket& socket) {
  const int on = 1;
  ::setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

}  // namespace

void set_unpaced_within_host(const Socket& socket) {
  const Result<std::string> own = numeric_host(socket, ::getsockname);
  const Result<std::string> peer = numeric_host(socket, ::getpeername);
  if (!own.is_ok() || !peer.is_ok() || *own != *peer) return;
  ::setsockopt(socket.fd(), IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

Result<Socket> listen_on(const SocketAddress& address) {
  const Result<Addresses> found = resolve(address, true);
  if (!found.is_ok()) return found.status();
  Result<Socket> socket = open_socket(**found);
  if (!socket.is_ok()) return socket.status();
  const int on = 1;
  ::setsockopt(socket->fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(socket->fd(), (*found)->ai_addr, (*found)->ai_addrlen) != 0) {
    return failed("bind", address, std::strerror(errno));
  }
  if (::listen(socket->fd(), 4) != 0) return failed("listen", address, std::strerror(errno));
  return socket;
}

Result<uint16_t> local_port(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return {StatusCode::kIoError,
            std::string("baseline tcp: getsockname: ") + std::strerror(errno)};
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

Result<Socket> accept_one(const Socket& listener) {
  int fd = -1;
  do {
    fd = ::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC);
  } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (fd < 0) {
    return {StatusCode::kIoError, std::string("baseline tcp: accept: ") + std::strerror(errno)};
  }
  Socket socket(fd);
  set_no_delay(socket);
  return socket;
}

Result<Socket> dial(const SocketAddress& address) {
  const Result<Addresses> found = resolve(address, false);
  if (!found.is_ok()) return found.status();
  int error = 0;
  for (const addrinfo* info = found->get(); info != nullptr; info = info->ai_next) {
    Result<Socket> socket = open_socket(*info);
    if (!socket.is_ok()) return socket.status();
    if (::connect(socket->fd(), info->ai_addr, info->ai_addrlen) == 0) {
      set_no_delay(*socket);
      return socket;
    }
    error = errno;
  }
  return failed("connect to", address, std::strerror(error), StatusCode::kPeerLost);
}

}  // namespace baton_perf
