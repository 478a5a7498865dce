#include "perf/baselines/vector_io.h"

#include <limits.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

void VectorCursor::clear() {
  vectors_.clear();
  next_ = 0;
}

void VectorCursor::append(void* address, size_t length_bytes) {
  if (!done()) {
    iovec& last = vectors_.back();
    if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == address) {
      last.iov_len += length_bytes;
      return;
    }
  }
  vectors_.push_back({address, length_bytes});
}

std::span<iovec> VectorCursor::front() {
  return std::span(vectors_).subspan(next_, std::min<size_t>(vectors_.size() - next_, IOV_MAX));
}

void VectorCursor::advance(size_t bytes) {
  while (bytes > 0) {
    iovec& vector = vectors_[next_];
    const size_t taken = std::min(bytes, vector.iov_len);
    vector.iov_base = static_cast<uint8_t*>(vector.iov_base) + taken;
    vector.iov_len -= taken;
    bytes -= taken;
    if (vector.iov_len == 0) ++next_;
  }
}

namespace {

Status socket_error(const char* call, int error) {
  const bool lost = error == EPIPE || error == ECONNRESET || error == ETIMEDOUT;
  return {lost ? StatusCode::kPeerLost : StatusCode::kIoError,
          "baseline tcp: " + std::string(call) + ": " + std::strerror(error)};
}

Status stream_ended() {
  return {StatusCode::kPeerLost, "baseline tcp: the peer closed the stream"};
}

}  // namespace

Result<Moved> send_vector(int fd, VectorCursor& cursor, int flags) {
  while (!cursor.done()) {
    const std::span<iovec> vectors = cursor.front();
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = vectors.size();
    const ssize_t sent = ::sendmsg(fd, &message, flags | MSG_NOSIGNAL);
    if (sent >= 0) {
      cursor.advance(static_cast<size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return Moved::kWouldBlock;
    } else if (errno != EINTR) {
      return socket_error("sendmsg", errno);
    }
  }
  return Moved::kAll;
}

Status receive_vector(int fd, VectorCursor& cursor) {
  while (!cursor.done()) {
    const std::span<iovec> vectors = cursor.front();
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = vectors.size();
    const ssize_t received = ::recvmsg(fd, &message, MSG_WAITALL);
    if (received == 0) return stream_ended();
    if (received > 0) {
      cursor.advance(static_cast<size_t>(received));
    } else if (errno != EINTR) {
      return socket_error("recvmsg", errno);
    }
  }
  return Status::ok();
}

Status receive_exactly(int fd, void* address, size_t length_bytes) {
  VectorCursor cursor;
  cursor.append(address, length_bytes);
  return receive_vector(fd, cursor);
}

}  // namespace baton_perf
