// One connected stream socket: set-up and fence (path.cc), data path (path_datapath.cc).
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "baton/plugin/plugin.h"
#include "baton/plugin/sdk.h"
#include "plugins/tcp/post_entry.h"
#include "plugins/tcp/receiver.h"
#include "plugins/tcp/sender.h"

namespace baton_tcp {

class Rail;

class Path {
 public:
  explicit Path(Rail* rail) : rail_(rail) {}
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

  // Takes options.stream_fd when it succeeds.
  [[nodiscard]] baton_rc open(const baton_path_options& options, char* error);

  baton_rc post(const baton_post* posts, uint32_t count, uint32_t* accepted);
  baton_rc flush(uint64_t op);
  // Finishes within the call: closes the socket with a reset, reports what is unfinished, then
  // fenced().
  void fence();
  [[nodiscard]] bool fenced() const { return fenced_; }
  [[nodiscard]] Rail* rail() const { return rail_; }

  // `events` of epoll.
  void note_events(uint32_t events);
  uint32_t progress(uint64_t budget_bytes);
  // progress() would do something now.
  [[nodiscard]] bool has_work() const;

  Path* previous = nullptr;  // the rail's list
  Path* next = nullptr;

 private:
  [[nodiscard]] baton_rc set_socket_options(int fd, char* error) const;
  [[nodiscard]] baton_rc set_congestion_control(int fd, const sockaddr_storage& peer,
                                                char* error) const;
  uint32_t report_writes();
  void break_path(const char* reason);

  // Bytes that post() itself tries to send before it leaves the rest to progress().
  static constexpr uint64_t kPostSendBytes = 256u << 10;

  Rail* rail_;
  PathContext context_;
  int fd_ = -1;
  bool broken_ = false;
  bool fenced_ = false;
  Sender sender_;
  Receiver receiver_;
};

}  // namespace baton_tcp
