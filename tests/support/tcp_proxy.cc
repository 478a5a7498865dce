#include "tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kReadBytes = 64u << 10;
constexpr uint64_t kMaxQueuedBytes = 256u << 10;
// A cut waits for acknowledgements; from a peer that reads nothing they never come.
constexpr std::chrono::seconds kMaxEnding{5};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::abort();
}

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Small pieces go on at once, or a cut would find the rest of a frame in our kernel's hands.
void set_no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void close_with_reset(int* fd) {
  if (*fd < 0) return;
  const linger at_once{1, 0};
  ::setsockopt(*fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  ::close(*fd);
  *fd = -1;
}

// The end that a way comes from, and the one that it goes to.
constexpr size_t source_of(size_t way) { return way; }
constexpr size_t target_of(size_t way) { return 1 - way; }
static_assert(static_cast<size_t>(TcpProxy::Way::kToAcceptor) == 0, "comes from the dialer's end");

}  // namespace

TcpProxy::TcpProxy(uint16_t target_port) : target_port_(target_port) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener_ < 0) die("socket");
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof(address);
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0) die("bind");
  if (::listen(listener_, 128) != 0) die("listen");
  if (::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) die("port");
  port_ = ntohs(address.sin_port);
  waker_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (waker_ < 0) die("eventfd");
  thread_ = std::thread([this] { run(); });
}

TcpProxy::~TcpProxy() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  ::eventfd_write(waker_, 1);
  thread_.join();
  for (auto& connection : connections_) reset(*connection);
  ::close(listener_);
  ::close(waker_);
}

uint16_t TcpProxy::port_of(const std::string& address) {
  return static_cast<uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
}

std::string TcpProxy::address_of(const std::string& address) const {
  const size_t begin = address.rfind(':') + 1;
  const size_t end = address.find_first_not_of("0123456789", begin);
  std::string out = address;
  return out.replace(begin, end == std::string::npos ? end : end - begin, std::to_string(port_));
}

// ---- rules

void TcpProxy::change(Stream stream, const std::function<void(Rule&)>& edit) {
  {
    const std::lock_guard lock(mutex_);
    edit(rules_[stream]);
  }
  ::eventfd_write(waker_, 1);
}

void TcpProxy::cut(Stream stream, Cut cut) {
  change(stream,
         [&](Rule& rule) { rule.now = cut == Cut::kReset ? Action::kReset : Action::kFinish; });
}

void TcpProxy::cut_after(Stream stream, Way way, uint64_t bytes, Cut cut) {
  change(stream, [&](Rule& rule) {
    FlowRule& flow = rule.flows[static_cast<size_t>(way)];
    flow.limit_bytes = bytes;
    flow.at_limit = cut == Cut::kReset ? Action::kReset : Action::kFinish;
  });
}

void TcpProxy::stall(Stream stream, Way way) {
  change(stream, [&](Rule& rule) { rule.flows[static_cast<size_t>(way)].stalled = true; });
}

void TcpProxy::stall_after(Stream stream, Way way, uint64_t bytes) {
  change(stream, [&](Rule& rule) {
    FlowRule& flow = rule.flows[static_cast<size_t>(way)];
    flow.limit_bytes = bytes;
    flow.at_limit = Action::kNone;
  });
}

void TcpProxy::resume(Stream stream, Way way) {
  change(stream, [&](Rule& rule) {
    FlowRule& flow = rule.flows[static_cast<size_t>(way)];
    flow.stalled = false;
    if (flow.at_limit == Action::kNone) flow.limit_bytes = kNoLimit;
  });
}

void TcpProxy::delay(Stream stream, Way way, std::chrono::milliseconds by) {
  change(stream, [&](Rule& rule) { rule.flows[static_cast<size_t>(way)].delay = by; });
}

void TcpProxy::refuse(bool refuse) {
  const std::lock_guard lock(mutex_);
  refuse_ = refuse;
}

// ---- what happened

const TcpProxy::Connection* TcpProxy::find(Stream stream) const {
  for (const auto& connection : connections_) {
    if (connection->known && connection->stream == stream) return connection.get();
  }
  return nullptr;
}

uint32_t TcpProxy::count(Kind kind) const {
  const std::lock_guard lock(mutex_);
  return counts_[static_cast<size_t>(kind)];
}

uint64_t TcpProxy::forwarded(Stream stream, Way way) const {
  const std::lock_guard lock(mutex_);
  const Connection* connection = find(stream);
  return connection == nullptr ? 0 : connection->flows[static_cast<size_t>(way)].forwarded_bytes;
}

bool TcpProxy::is_over(Stream stream) const {
  const std::lock_guard lock(mutex_);
  const Connection* connection = find(stream);
  return connection != nullptr && connection->over;
}

bool TcpProxy::wait_count(Kind kind, uint32_t count, std::chrono::milliseconds limit) const {
  return wait_until([&] { return this->count(kind) >= count; }, limit);
}

bool TcpProxy::wait_forwarded(Stream stream, Way way, uint64_t bytes,
                              std::chrono::milliseconds limit) const {
  return wait_until([&] { return forwarded(stream, way) >= bytes; }, limit);
}

bool TcpProxy::wait_over(Stream stream, std::chrono::milliseconds limit) const {
  return wait_until([&] { return is_over(stream); }, limit);
}

// ---- the thread

void TcpProxy::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    std::vector<pollfd> polled = {{listener_, POLLIN, 0}, {waker_, POLLIN, 0}};
    int timeout_ms = -1;
    for (const auto& connection : connections_) add_polled(*connection, &polled, &timeout_ms);
    lock.unlock();
    ::poll(polled.data(), polled.size(), timeout_ms);
    eventfd_t ignored = 0;
    ::eventfd_read(waker_, &ignored);
    lock.lock();
    accept_one();
    for (auto& connection : connections_) serve(*connection);
  }
}

// What this connection waits for: only what its rules allow, or poll() would spin.
void TcpProxy::add_polled(const Connection& connection, std::vector<pollfd>* polled,
                          int* timeout_ms) const {
  if (connection.over) return;
  if (connection.ending != Action::kNone) {
    *timeout_ms = 1;  // for the acknowledgements: there is no event for them
    return;
  }
  const auto now = SteadyClock::now();
  short events[2] = {0, 0};
  for (size_t way = 0; way < 2; ++way) {
    const Flow& flow = connection.flows[way];
    if (connection.finishing) {
      if (!flow.source_ended) events[source_of(way)] |= POLLIN;
      continue;
    }
    const FlowRule rule = rule_of(connection, way);
    if (rule.stalled) continue;
    if (!flow.source_ended && flow.queued_bytes < kMaxQueuedBytes) events[source_of(way)] |= POLLIN;
    if (flow.chunks.empty() || left_of(connection, way) == 0) continue;
    const auto wait = flow.chunks.front().due - now;
    if (wait <= SteadyClock::duration::zero()) {
      events[target_of(way)] |= POLLOUT;
    } else {
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count() + 1;
      *timeout_ms =
          *timeout_ms < 0 ? static_cast<int>(ms) : std::min(*timeout_ms, static_cast<int>(ms));
    }
  }
  // Without events an end is left out, or its hang-up would wake us for nothing.
  for (size_t end = 0; end < 2; ++end) {
    if (events[end] != 0) polled->push_back({connection.fds[end], events[end], 0});
  }
}

void TcpProxy::accept_one() {
  for (;;) {
    int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (refuse_) {
      close_with_reset(&fd);
      continue;
    }
    int other = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(target_port_);
    if (other < 0 ||
        ::connect(other, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      if (other >= 0) ::close(other);
      close_with_reset(&fd);
      continue;
    }
    ::fcntl(other, F_SETFL, O_NONBLOCK);
    set_no_delay(fd);
    set_no_delay(other);
    auto connection = std::make_unique<Connection>();
    connection->fds[0] = fd;
    connection->fds[1] = other;
    connections_.push_back(std::move(connection));
  }
}

void TcpProxy::identify(Connection& connection, uint8_t first) {
  const Kind kind = first == 'S' ? Kind::kData : Kind::kControl;
  connection.known = true;
  connection.stream = {kind, counts_[static_cast<size_t>(kind)]++};
}

TcpProxy::FlowRule TcpProxy::rule_of(const Connection& connection, size_t way) const {
  const auto found = connection.known ? rules_.find(connection.stream) : rules_.end();
  return found == rules_.end() ? FlowRule{} : found->second.flows[way];
}

uint64_t TcpProxy::left_of(const Connection& connection, size_t way) const {
  const uint64_t limit = rule_of(connection, way).limit_bytes;
  const uint64_t done = connection.flows[way].forwarded_bytes;
  return limit > done ? limit - done : 0;
}

void TcpProxy::serve(Connection& connection) {
  if (connection.over) return;
  if (connection.finishing) {
    discard(connection);
    return;
  }
  if (connection.ending == Action::kNone) {
    for (size_t way = 0; way < 2 && !connection.over; ++way) {
      read_some(connection, way);
      if (!connection.over) write_some(connection, way);
    }
    if (connection.over || !connection.known) return;
    const auto rule = rules_.find(connection.stream);
    if (rule == rules_.end()) return;
    if (rule->second.now != Action::kNone) {
      end(connection, rule->second.now);
      return;
    }
    for (size_t way = 0; way < 2; ++way) {
      const Action action = rule->second.flows[way].at_limit;
      if (action == Action::kNone || left_of(connection, way) > 0) continue;
      connection.ending = action;
      connection.ending_since = SteadyClock::now();
    }
  }
  if (connection.ending == Action::kNone) return;
  if (is_acknowledged(connection) || SteadyClock::now() - connection.ending_since > kMaxEnding) {
    end(connection, connection.ending);
  }
}

void TcpProxy::read_some(Connection& connection, size_t way) {
  Flow& flow = connection.flows[way];
  const FlowRule rule = rule_of(connection, way);
  if (rule.stalled || flow.source_ended || flow.queued_bytes >= kMaxQueuedBytes) return;
  std::vector<uint8_t> bytes(kReadBytes);
  const ssize_t got = ::recv(connection.fds[source_of(way)], bytes.data(), bytes.size(), 0);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) reset(connection);
    return;
  }
  if (got == 0) {
    flow.source_ended = true;
    return;
  }
  if (!connection.known && way == 0) identify(connection, bytes[0]);
  bytes.resize(static_cast<size_t>(got));
  flow.queued_bytes += bytes.size();
  flow.chunks.push_back({SteadyClock::now() + rule_of(connection, way).delay, std::move(bytes), 0});
}

void TcpProxy::write_some(Connection& connection, size_t way) {
  Flow& flow = connection.flows[way];
  if (rule_of(connection, way).stalled) return;
  const int target = connection.fds[target_of(way)];
  while (!flow.chunks.empty() && flow.chunks.front().due <= SteadyClock::now()) {
    Chunk& chunk = flow.chunks.front();
    const uint64_t length =
        std::min<uint64_t>(chunk.bytes.size() - chunk.done, left_of(connection, way));
    if (length == 0) return;
    const ssize_t sent = ::send(target, chunk.bytes.data() + chunk.done, length, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN && errno != EINTR) reset(connection);
      return;
    }
    chunk.done += static_cast<size_t>(sent);
    flow.forwarded_bytes += static_cast<uint64_t>(sent);
    flow.queued_bytes -= static_cast<uint64_t>(sent);
    if (chunk.done == chunk.bytes.size()) flow.chunks.pop_front();
  }
  if (flow.source_ended && flow.chunks.empty() && !flow.target_shut) {
    ::shutdown(target, SHUT_WR);
    flow.target_shut = true;
    if (connection.flows[0].target_shut && connection.flows[1].target_shut) {
      close_both(connection);
    }
  }
}

// Both kernels have what was passed on.
bool TcpProxy::is_acknowledged(const Connection& connection) {
  for (const int fd : connection.fds) {
    int unacknowledged = 0;
    if (::ioctl(fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged > 0) return false;
  }
  return true;
}

void TcpProxy::end(Connection& connection, Action action) {
  if (action == Action::kReset) {
    reset(connection);
    return;
  }
  // A close() with bytes unread would be a reset: so what still comes is read and thrown away.
  for (const int fd : connection.fds) ::shutdown(fd, SHUT_WR);
  connection.ending = Action::kNone;
  connection.finishing = true;
  discard(connection);
}

void TcpProxy::discard(Connection& connection) {
  uint8_t bytes[4096];
  for (size_t way = 0; way < 2; ++way) {
    Flow& flow = connection.flows[way];
    while (!flow.source_ended) {
      const ssize_t got = ::recv(connection.fds[source_of(way)], bytes, sizeof(bytes), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) flow.source_ended = true;
    }
  }
  if (connection.flows[0].source_ended && connection.flows[1].source_ended) {
    close_both(connection);
  }
}

void TcpProxy::close_both(Connection& connection) {
  for (int& fd : connection.fds) {
    ::close(fd);
    fd = -1;
  }
  connection.over = true;
}

void TcpProxy::reset(Connection& connection) {
  for (int& fd : connection.fds) close_with_reset(&fd);
  connection.over = true;
}

}  // namespace baton_test
