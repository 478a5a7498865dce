#include "examples/reference_engine/rank_pipe.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "examples/reference_engine/engine_interrupt.h"
#include "examples/reference_engine/engine_progress.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr int kSliceMs = 100;

// In front of each message. Both ends are the same program on one machine.
struct Header {
  uint64_t length = 0;
  uint64_t key = 0;
  uint32_t kind = 0;
  uint32_t unused = 0;
};

}  // namespace

Result<std::pair<OwnedFd, OwnedFd>> RankPipe::create_ends() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return {StatusCode::kIoError, std::string("socketpair: ") + std::strerror(errno)};
  }
  return std::pair<OwnedFd, OwnedFd>(OwnedFd(ends[0]), OwnedFd(ends[1]));
}

Status RankPipe::send(uint32_t kind, uint64_t key, std::span<const uint8_t> bytes,
                      uint32_t timeout_ms) {
  const Header header{bytes.size(), key, kind, 0};
  std::vector<uint8_t> whole(sizeof(header) + bytes.size());
  std::memcpy(whole.data(), &header, sizeof(header));
  std::copy(bytes.begin(), bytes.end(), whole.begin() + sizeof(header));
  std::span<const uint8_t> rest = whole;
  const int64_t end_ns = now_ns() + int64_t{timeout_ms} * 1'000'000;
  while (!rest.empty()) {
    const ssize_t sent = ::send(end_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      rest = rest.subspan(static_cast<size_t>(sent));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) {
      return {StatusCode::kPeerLost, other_ + " is gone: " + std::strerror(errno)};
    }
    if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
    if (now_ns() > end_ns) {
      return {StatusCode::kDeadlineExceeded,
              other_ + " did not read a message within " + std::to_string(timeout_ms) + " ms"};
    }
    pollfd entry{end_.get(), POLLOUT, 0};
    ::poll(&entry, 1, kSliceMs);
  }
  return Status::ok();
}

Result<std::optional<RankPipe::Message>> RankPipe::poll() {
  std::optional<Message> message = take();
  if (message) return message;
  const Status status = read_some();
  message = take();
  // What came before the end counts.
  if (!message && !status.is_ok()) return status;
  return message;
}

Result<RankPipe::Message> RankPipe::receive(uint32_t timeout_ms) {
  const int64_t end_ns = now_ns() + int64_t{timeout_ms} * 1'000'000;
  while (true) {
    auto message = poll();
    if (!message.is_ok()) return message.status();
    if (*message) return std::move(**message);
    if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
    if (now_ns() > end_ns) {
      return {StatusCode::kDeadlineExceeded,
              other_ + " said nothing for " + std::to_string(timeout_ms) + " ms"};
    }
    pollfd entry{end_.get(), POLLIN, 0};
    ::poll(&entry, 1, kSliceMs);
  }
}

Status RankPipe::read_some() {
  while (true) {
    uint8_t bytes[65536];
    const ssize_t got = ::recv(end_.get(), bytes, sizeof(bytes), 0);
    if (got > 0) {
      unread_.insert(unread_.end(), bytes, bytes + got);
      if (static_cast<size_t>(got) < sizeof(bytes)) return Status::ok();
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return Status::ok();
    return {StatusCode::kPeerLost, other_ + " is gone"};
  }
}

std::optional<RankPipe::Message> RankPipe::take() {
  Header header;
  if (unread_.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, unread_.data(), sizeof(header));
  if (unread_.size() - sizeof(header) < header.length) return std::nullopt;
  const auto begin = unread_.begin() + sizeof(header);
  const auto end = begin + static_cast<ptrdiff_t>(header.length);
  Message message{header.kind, header.key, {begin, end}};
  unread_.erase(unread_.begin(), end);
  return message;
}

}  // namespace baton_engine
