#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "perf/baselines/tcp_stream.h"
#include "perf/baselines/tcp_stream_wire.h"

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

TcpStreamClient::TcpStreamClient(const Options& options, std::span<uint8_t> memory,
                                 const Places& places)
    : options_(options),
      memory_(memory),
      places_(places),
      request_(1 + places.shape().runs_per_batch) {}

Result<std::unique_ptr<TcpStreamClient>> TcpStreamClient::connect(const Options& options,
                                                                  std::span<uint8_t> memory,
                                                                  const Places& places) {
  if (places.shape().runs_per_batch > kMaxStreamRuns) {
    return {StatusCode::kInvalidArgument,
            "baseline tcp: at most " + std::to_string(kMaxStreamRuns) + " runs a batch"};
  }
  auto client = std::unique_ptr<TcpStreamClient>(new TcpStreamClient(options, memory, places));
  Result<Socket> socket = dial(options.server);
  if (!socket.is_ok()) return socket.status();
  client->socket_ = std::move(*socket);
  StreamHello hello;
  std::memcpy(hello.token, options.token.data(), options.token.size());
  hello.runs = places.shape().runs_per_batch;
  hello.operation = static_cast<uint32_t>(options.operation);
  hello.run_bytes = places.shape().run_bytes;
  hello.is_tuned = options.is_tuned ? 1 : 0;
  if (options.is_tuned) set_unpaced_within_host(client->socket_);
  VectorCursor cursor;
  cursor.append(&hello, sizeof(hello));
  const Result<Moved> sent = send_vector(client->socket_.fd(), cursor, 0);
  if (!sent.is_ok()) return sent.status();
  return client;
}

void TcpStreamClient::begin_request(uint64_t index) {
  const bool write = options_.operation == Operation::kWrite;
  const std::span<const Place> places = places_.batch(index);
  request_[0] = index;
  for (size_t i = 0; i < places.size(); ++i) {
    request_[1 + i] = write ? places[i].target_offset_bytes : places[i].source_offset_bytes;
  }
  outgoing_.clear();
  outgoing_.append(request_.data(), request_.size() * sizeof(uint64_t));
  if (!write) return;
  for (const Place& place : places) {
    outgoing_.append(memory_.data() + place.source_offset_bytes, places_.shape().run_bytes);
  }
}

// One batch in flight: plain blocking calls, the fastest there is. Several written batches: the
// send may not block, as the answer to an earlier batch would be noticed late.
Status TcpStreamClient::submit(uint64_t index) {
  unsent_.push_back(index);
  const bool may_block = options_.in_flight == 1 || options_.operation == Operation::kRead;
  return send_pending(may_block ? 0 : MSG_DONTWAIT);
}

Status TcpStreamClient::send_pending(int flags) {
  while (true) {
    if (outgoing_.done()) {
      if (unsent_.empty()) return Status::ok();
      begin_request(unsent_.front());
      unsent_.pop_front();
    }
    const Result<Moved> moved = send_vector(socket_.fd(), outgoing_, flags);
    if (!moved.is_ok()) return moved.status();
    if (*moved == Moved::kWouldBlock) return Status::ok();
  }
}

Result<uint64_t> TcpStreamClient::wait_one() {
  return options_.operation == Operation::kWrite ? wait_written() : wait_read();
}

Result<uint64_t> TcpStreamClient::wait_written() {
  uint64_t index = 0;
  while (!outgoing_.done() || !unsent_.empty()) {
    pollfd entry{socket_.fd(), POLLIN | POLLOUT, 0};
    if (::poll(&entry, 1, -1) < 0 && errno != EINTR) {
      return {StatusCode::kIoError, std::string("baseline tcp: poll: ") + std::strerror(errno)};
    }
    if ((entry.revents & POLLIN) != 0) break;
    const Status status = send_pending(MSG_DONTWAIT);
    if (!status.is_ok()) return status;
  }
  const Status status = receive_exactly(socket_.fd(), &index, sizeof(index));
  if (!status.is_ok()) return status;
  return index;
}

Result<uint64_t> TcpStreamClient::wait_read() {
  uint64_t index = 0;
  Status status = receive_exactly(socket_.fd(), &index, sizeof(index));
  if (!status.is_ok()) return status;
  incoming_.clear();
  for (const Place& place : places_.batch(index)) {
    incoming_.append(memory_.data() + place.target_offset_bytes, places_.shape().run_bytes);
  }
  status = receive_vector(socket_.fd(), incoming_);
  if (!status.is_ok()) return status;
  return index;
}

}  // namespace baton_perf
