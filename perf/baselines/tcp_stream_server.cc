#include <sys/random.h>

#include <cstring>

#include "perf/baselines/tcp_stream.h"
#include "perf/baselines/tcp_stream_wire.h"

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

StreamToken random_token() {
  StreamToken token{};
  for (size_t have = 0; have < token.size();) {
    const ssize_t got = ::getrandom(token.data() + have, token.size() - have, 0);
    if (got > 0) have += static_cast<size_t>(got);
  }
  return token;
}

struct TcpStreamServer::Session {
  StreamHello hello;
  std::vector<uint64_t> request;
  VectorCursor cursor;
};

Result<std::unique_ptr<TcpStreamServer>> TcpStreamServer::create(const std::string& bind_host,
                                                                 const StreamToken& token,
                                                                 std::span<uint8_t> memory) {
  auto server = std::unique_ptr<TcpStreamServer>(new TcpStreamServer(token, memory));
  Result<Socket> listener = listen_on({bind_host, 0});
  if (!listener.is_ok()) return listener.status();
  const Result<uint16_t> port = local_port(*listener);
  if (!port.is_ok()) return port.status();
  server->listener_ = std::move(*listener);
  server->port_ = *port;
  server->thread_ = std::thread([raw = server.get()] { raw->run(); });
  return server;
}

TcpStreamServer::~TcpStreamServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    listener_.shut_down();
    connection_.shut_down();
  }
  if (thread_.joinable()) thread_.join();
}

// A client that ends, breaks off or does not know the token costs its connection only: the
// measuring side reports what it saw.
void TcpStreamServer::run() {
  while (true) {
    Result<Socket> accepted = accept_one(listener_);
    if (!accepted.is_ok()) return;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      connection_ = std::move(*accepted);
    }
    serve(connection_).ignore();
    const std::lock_guard lock(mutex_);
    connection_ = Socket();
    if (stopping_) return;
  }
}

Status TcpStreamServer::serve(const Socket& socket) {
  Session session;
  StreamHello& hello = session.hello;
  Status status = receive_exactly(socket.fd(), &hello, sizeof(hello));
  if (!status.is_ok()) return status;
  if (std::memcmp(hello.token, token_.data(), token_.size()) != 0) {
    return {StatusCode::kPermissionDenied, "baseline tcp: wrong token"};
  }
  if (hello.runs == 0 || hello.runs > kMaxStreamRuns || hello.run_bytes == 0 ||
      hello.run_bytes > memory_.size()) {
    return {StatusCode::kInvalidArgument, "baseline tcp: wrong shape"};
  }
  if (hello.is_tuned != 0) set_unpaced_within_host(socket);
  session.request.resize(1 + hello.runs);
  while (status.is_ok()) status = serve_batch(socket, session);
  return status;
}

Status TcpStreamServer::serve_batch(const Socket& socket, Session& session) {
  Status status = receive_exactly(socket.fd(), session.request.data(),
                                  session.request.size() * sizeof(uint64_t));
  if (!status.is_ok()) return status;
  const bool write = session.hello.operation == static_cast<uint32_t>(Operation::kWrite);
  VectorCursor& cursor = session.cursor;
  cursor.clear();
  if (!write) cursor.append(session.request.data(), sizeof(uint64_t));
  for (size_t i = 1; i < session.request.size(); ++i) {
    const uint64_t offset_bytes = session.request[i];
    if (offset_bytes > memory_.size() - session.hello.run_bytes) {
      return {StatusCode::kOutOfRange, "baseline tcp: a run lies past the end"};
    }
    cursor.append(memory_.data() + offset_bytes, session.hello.run_bytes);
  }
  if (write) {
    status = receive_vector(socket.fd(), cursor);
    if (!status.is_ok()) return status;
    cursor.clear();
    cursor.append(session.request.data(), sizeof(uint64_t));
  }
  batches_served_.fetch_add(1, std::memory_order_release);
  return send_vector(socket.fd(), cursor, 0).status();
}

}  // namespace baton_perf
