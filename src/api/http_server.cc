#include "src/api/http_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/api/http_request.h"
#include "src/base/clock.h"
#include "src/control/socket.h"

namespace baton::api {

namespace {

constexpr int64_t kMsNs = 1'000'000;
// No descriptors were left: without a rest the listener would stay readable and the thread busy.
constexpr int64_t kAcceptRestNs = 100 * kMsNs;
constexpr int kAcceptsPerTurn = 16;

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

HttpServer::HttpServer(const Options& options, Handler handler, base::ContextMeters* meters,
                       base::Logger& logger, base::EventFd wake)
    : options_(options),
      handler_(std::move(handler)),
      meters_(meters),
      logger_(logger),
      wake_(std::move(wake)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(const Options& options, Handler handler,
                                                      base::ContextMeters* meters,
                                                      base::Logger& logger) {
  auto bind_address = control::numeric_address(options.host, options.port);
  if (!bind_address.is_ok()) return bind_address.status();
  if (!bind_address->is_loopback()) {
    logger.warning(
        "metrics are served on {} to anyone who reaches the port, with the names of "
        "peers and the tags of requests",
        options.host);
  }
  auto wake = base::EventFd::create();
  if (!wake.is_ok()) return wake.status();
  auto listener = control::listen_on(bind_address.value());
  if (!listener.is_ok()) return listener.status();
  std::unique_ptr<HttpServer> server(
      new HttpServer(options, std::move(handler), meters, logger, std::move(wake).value()));
  server->listener_ = std::move(listener).value();
  server->address_ = control::local_address(server->listener_.get()).text();
  HttpServer* const raw = server.get();
  auto thread = base::Thread::start({"baton-metrics", {}}, [raw] { raw->run(); });
  if (!thread.is_ok()) return thread.status();
  server->thread_ = std::move(thread).value();
  return server;
}

HttpServer::~HttpServer() {
  stopping_.store(true);
  wake_.signal();
  thread_.join();
}

void HttpServer::run() {
  std::vector<pollfd> fds;
  while (!stopping_.load()) {
    const int64_t now_ns = base::monotonic_now_ns();
    fds.clear();
    fds.push_back({wake_.fd(), POLLIN, 0});
    const short listen = now_ns >= accept_again_ns_ ? POLLIN : 0;
    fds.push_back({listener_.get(), listen, 0});
    for (const Connection& connection : connections_) {
      const bool writes = connection.is_answered && !connection.end_sent;
      const short events = writes ? POLLOUT : POLLIN;
      fds.push_back({connection.fd.get(), events, 0});
    }
    poll(fds.data(), fds.size(), timeout_ms(now_ns));
    size_t i = 2;
    for (Connection& connection : connections_) {
      if (fds[i++].revents != 0) on_ready(connection);
    }
    const int64_t then_ns = base::monotonic_now_ns();
    expire(then_ns);
    connections_.remove_if([](const Connection& connection) { return !connection.is_open; });
    if (fds[1].revents != 0) accept_all(then_ns);
  }
}

int HttpServer::timeout_ms(int64_t now_ns) const {
  int64_t until_ns = INT64_MAX;
  if (now_ns < accept_again_ns_) until_ns = accept_again_ns_;
  for (const Connection& connection : connections_)
    until_ns = std::min(until_ns, connection.deadline_ns);
  if (until_ns == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<int64_t>((until_ns - now_ns) / kMsNs + 1, 0, 60'000));
}

void HttpServer::accept_all(int64_t now_ns) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    base::UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      logger_.warning("the metrics endpoint cannot accept: {}", std::strerror(errno));
      accept_again_ns_ = now_ns + kAcceptRestNs;
      return;
    }
    if (connections_.size() >= options_.max_connections) {
      if (!connections_.front().is_answered) meters_->http_refused.add();
      connections_.pop_front();
    }
    Connection& connection = connections_.emplace_back();
    connection.fd = std::move(fd);
    connection.deadline_ns = now_ns + int64_t{options_.timeout_ms} * kMsNs;
  }
}

void HttpServer::on_ready(Connection& connection) {
  if (!connection.is_answered || connection.end_sent) read(connection);
  if (connection.is_open && connection.is_answered && !connection.end_sent) write(connection);
}

void HttpServer::read(Connection& connection) {
  char bytes[kMaxHttpRequestBytes];
  const ssize_t got = recv(connection.fd.get(), bytes, sizeof(bytes), 0);
  if (got < 0 && would_block()) return;
  if (got <= 0) {
    if (!connection.is_answered) meters_->http_refused.add();
    connection.is_open = false;
    return;
  }
  if (connection.is_answered) return;  // read away
  connection.in.append(bytes, static_cast<size_t>(got));
  const HttpRequest request = parse_http_request(connection.in);
  if (request.status != 0) answer(connection, request.status, request.path);
}

void HttpServer::answer(Connection& connection, int status, const std::string& path) {
  std::optional<Content> content;
  if (status == 200) content = handler_(path);
  if (status == 200 && !content.has_value()) status = 404;
  connection.out = content.has_value() ? http_response(status, content->type, content->body)
                                       : http_refusal(status);
  connection.is_answered = true;
  (status == 200 ? meters_->http_requests : meters_->http_refused).add();
}

void HttpServer::write(Connection& connection) {
  while (connection.sent < connection.out.size()) {
    const ssize_t put = send(connection.fd.get(), connection.out.data() + connection.sent,
                             connection.out.size() - connection.sent, MSG_NOSIGNAL);
    if (put < 0 && would_block()) return;
    if (put < 0) {
      connection.is_open = false;
      return;
    }
    connection.sent += static_cast<size_t>(put);
  }
  // The client closes; a close with unread bytes would be a reset, which can overtake the answer.
  shutdown(connection.fd.get(), SHUT_WR);
  connection.end_sent = true;
}

void HttpServer::expire(int64_t now_ns) {
  for (Connection& connection : connections_) {
    if (!connection.is_open || now_ns < connection.deadline_ns) continue;
    if (!connection.is_answered) {
      answer(connection, 408, "");
      write(connection);
    } else if (!connection.end_sent) {
      // Nor does the kernel keep for minutes what nobody reads.
      const linger reset{1, 0};
      setsockopt(connection.fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    connection.is_open = false;
  }
}

}  // namespace baton::api
