#include "plugins/tcp/path.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "plugins/tcp/rail.h"

namespace baton_tcp {
namespace {

baton_rc refuse(char* error, const char* call) {
  const int code = errno;
  baton_sdk::format_text(error, "tcp: %s on the path's socket: %s", call,
                         baton_sdk::ErrnoText(code).c_str());
  // The connection ended before it was used.
  const bool is_gone = code == ENOTCONN || code == ECONNRESET || code == EPIPE;
  return is_gone ? BATON_RC_BROKEN : BATON_RC_IO;
}

bool set_option(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// Both ends have the same address: no network lies between them.
bool is_same_host(int fd, const sockaddr_storage& peer) {
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) != 0) return false;
  if (own.ss_family != peer.ss_family) return false;
  if (own.ss_family == AF_INET) {
    const auto* a = reinterpret_cast<const sockaddr_in*>(&own);
    const auto* b = reinterpret_cast<const sockaddr_in*>(&peer);
    return a->sin_addr.s_addr == b->sin_addr.s_addr;
  }
  const auto* a = reinterpret_cast<const sockaddr_in6*>(&own);
  const auto* b = reinterpret_cast<const sockaddr_in6*>(&peer);
  return std::memcmp(&a->sin6_addr, &b->sin6_addr, sizeof a->sin6_addr) == 0;
}

}  // namespace

// Within one host there is nobody to be fair to, and a paced algorithm (bbr) sets a timer for each
// segment, which in a virtual machine costs more than copying it. reno is in every kernel, allowed
// to everybody, and does not pace; where it is refused the system's own stays.
baton_rc Path::set_congestion_control(int fd, const sockaddr_storage& peer, char* error) const {
  const char* wanted = rail_->settings().congestion_control;
  const bool asked = wanted[0] != '\0';
  if (!asked) {
    if (!is_same_host(fd, peer)) return BATON_RC_OK;
    wanted = "reno";
  }
  const auto length = static_cast<socklen_t>(std::strlen(wanted));
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, wanted, length) != 0 && asked) {
    return refuse(error, "TCP_CONGESTION");
  }
  return BATON_RC_OK;
}

baton_rc Path::set_socket_options(int fd, char* error) const {
  int type = 0;
  socklen_t length = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0)
    return refuse(error, "getsockopt");
  if (type != SOCK_STREAM) {
    baton_sdk::format_text(error, "tcp: fd %d is not a stream socket (type %d)", fd, type);
    return BATON_RC_INVALID;
  }
  sockaddr_storage peer{};
  length = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) {
    return refuse(error, "getpeername");
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return refuse(error, "fcntl");
  const bool internet = peer.ss_family == AF_INET || peer.ss_family == AF_INET6;
  if (internet) {
    if (!set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1)) return refuse(error, "TCP_NODELAY");
    const baton_rc rc = set_congestion_control(fd, peer, error);
    if (rc != BATON_RC_OK) return rc;
  }
  const RailSettings& settings = rail_->settings();
  if (settings.send_buffer_bytes > 0 &&
      !set_option(fd, SOL_SOCKET, SO_SNDBUF, static_cast<int>(settings.send_buffer_bytes))) {
    return refuse(error, "SO_SNDBUF");
  }
  if (settings.receive_buffer_bytes > 0 &&
      !set_option(fd, SOL_SOCKET, SO_RCVBUF, static_cast<int>(settings.receive_buffer_bytes))) {
    return refuse(error, "SO_RCVBUF");
  }
  return BATON_RC_OK;
}

baton_rc Path::open(const baton_path_options& options, char* error) {
  if (options.stream_fd < 0) {
    baton_sdk::format_text(error, "tcp: path_open needs a connected stream socket, got fd %d",
                           options.stream_fd);
    return BATON_RC_INVALID;
  }
  if (options.max_message_bytes > kMaxMessageBytes) {
    baton_sdk::format_text(error, "tcp: max_message_bytes %u is above this plug-in's limit %u",
                           options.max_message_bytes, kMaxMessageBytes);
    return BATON_RC_INVALID;
  }
  const baton_rc rc = set_socket_options(options.stream_fd, error);
  if (rc != BATON_RC_OK) return rc;
  context_.host = rail_->host();
  context_.cookie = options.cookie;
  context_.max_message_bytes =
      options.max_message_bytes == 0 ? kMaxMessageBytes : options.max_message_bytes;
  context_.discard = rail_->discard();
  context_.zeros = rail_->zeros();
  if (!sender_.open(context_) || !receiver_.open(context_, &sender_)) {
    baton_sdk::format_text(error, "tcp: the host has no memory for a path's rings");
    return BATON_RC_NO_RESOURCE;
  }
  // Edge-triggered: interest never changes, so blocking and unblocking cost no system call. arm()
  // covers what an edge does not tell again.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = this;
  if (::epoll_ctl(rail_->epoll_fd(), EPOLL_CTL_ADD, options.stream_fd, &event) != 0) {
    return refuse(error, "epoll_ctl");
  }
  fd_ = options.stream_fd;
  return BATON_RC_OK;
}

void Path::fence() {
  if (fenced_) return;
  fenced_ = true;
  // Software places every byte, and only from within progress(): with the socket closed, nothing
  // can land or leave. The reset tells the peer at once and drops what the kernel has not sent.
  ::epoll_ctl(rail_->epoll_fd(), EPOLL_CTL_DEL, fd_, nullptr);
  const linger reset{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  ::close(fd_);
  fd_ = -1;
  sender_.abandon();
  context_.host->fenced(context_.host->context, context_.cookie);
}

}  // namespace baton_tcp
