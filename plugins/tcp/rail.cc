#include "plugins/tcp/rail.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "plugins/tcp/path.h"

namespace baton_tcp {

Rail::~Rail() {
  BATON_SDK_ASSERT(first_path_ == nullptr);
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
}

baton_rc Rail::parse_settings(const char* text, char* error) {
  baton_sdk::Settings parser(text);
  for (std::string_view key, value; parser.next(&key, &value);) {
    uint64_t* target = nullptr;
    if (key == "send_buffer_bytes") target = &settings_.send_buffer_bytes;
    if (key == "receive_buffer_bytes") target = &settings_.receive_buffer_bytes;
    if (key == "congestion_control") {
      const baton_rc rc = parse_congestion_control(value, error);
      if (rc != BATON_RC_OK) return rc;
      continue;
    }
    if (target == nullptr) {
      baton_sdk::format_text(error,
                             "tcp: unknown setting \"%.*s\"; known: send_buffer_bytes, "
                             "receive_buffer_bytes, congestion_control",
                             static_cast<int>(key.size()), key.data());
      return BATON_RC_INVALID;
    }
    if (!baton_sdk::Settings::parse_number(value, 0, 1u << 30, target)) {
      baton_sdk::format_text(error, "tcp: setting %.*s=%.*s is not a number in [0, 2^30]",
                             static_cast<int>(key.size()), key.data(),
                             static_cast<int>(value.size()), value.data());
      return BATON_RC_INVALID;
    }
  }
  return BATON_RC_OK;
}

// Whether the kernel has it is asked here, not when the first path opens.
baton_rc Rail::parse_congestion_control(std::string_view value, char* error) {
  const int length = static_cast<int>(value.size());
  if (value.empty() || value.size() > RailSettings::kMaxNameBytes) {
    baton_sdk::format_text(error,
                           "tcp: setting congestion_control=%.*s is not a name of 1 to %zu bytes",
                           length, value.data(), RailSettings::kMaxNameBytes);
    return BATON_RC_INVALID;
  }
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int status = ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, value.data(),
                                  static_cast<socklen_t>(value.size()));
  const int code = errno;
  if (fd >= 0) ::close(fd);
  if (status != 0) {
    baton_sdk::format_text(error,
                           "tcp: setting congestion_control=%.*s: %s; see "
                           "net.ipv4.tcp_allowed_congestion_control",
                           length, value.data(), baton_sdk::ErrnoText(code).c_str());
    return BATON_RC_UNAVAILABLE;
  }
  std::memcpy(settings_.congestion_control, value.data(), value.size());
  settings_.congestion_control[value.size()] = '\0';
  return BATON_RC_OK;
}

baton_rc Rail::open(const baton_rail_options* options, char* error) {
  if (options != nullptr) {
    const baton_rc rc = parse_settings(options->settings, error);
    if (rc != BATON_RC_OK) return rc;
  }
  if (!discard_.open(host_, kScratchBytes) || !zeros_.open(host_, kScratchBytes)) {
    baton_sdk::format_text(error, "tcp: the host has no memory for a rail's scratch buffers");
    return BATON_RC_NO_RESOURCE;
  }
  epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd_ < 0) {
    baton_sdk::format_text(error, "tcp: epoll_create1: %s", baton_sdk::ErrnoText(errno).c_str());
    return BATON_RC_NO_RESOURCE;
  }
  return BATON_RC_OK;
}

baton_rc Rail::path_open(const baton_path_options& options, Path** out, char* error) {
  Path* path = baton_sdk::create<Path>(host_, this);
  if (path == nullptr) {
    baton_sdk::format_text(error, "tcp: the host has no memory for a path");
    return BATON_RC_NO_RESOURCE;
  }
  const baton_rc rc = path->open(options, error);
  if (rc != BATON_RC_OK) {
    baton_sdk::destroy(host_, path);
    return rc;
  }
  path->next = first_path_;
  if (first_path_ != nullptr) first_path_->previous = path;
  first_path_ = path;
  *out = path;
  return BATON_RC_OK;
}

void Rail::path_close(Path* path) {
  BATON_SDK_ASSERT(path->fenced());
  if (path->previous != nullptr) path->previous->next = path->next;
  if (path->next != nullptr) path->next->previous = path->previous;
  if (first_path_ == path) first_path_ = path->next;
  baton_sdk::destroy(host_, path);
}

bool Rail::any_work() const {
  for (const Path* path = first_path_; path != nullptr; path = path->next) {
    if (path->has_work()) return true;
  }
  return false;
}

void Rail::collect_events() {
  epoll_event events[64];
  const int count = ::epoll_wait(epoll_fd_, events, 64, 0);
  for (int i = 0; i < count; ++i) {
    static_cast<Path*>(events[i].data.ptr)->note_events(events[i].events);
  }
}

uint32_t Rail::progress(uint64_t budget_bytes) {
  if (++calls_ % kCallsBetweenPolls == 0 || !any_work()) collect_events();
  uint32_t things = 0;
  for (Path* path = first_path_; path != nullptr; path = path->next) {
    if (path->has_work()) things += path->progress(budget_bytes);
  }
  return things;
}

uint32_t Rail::arm() { return any_work() ? 1 : 0; }

}  // namespace baton_tcp
