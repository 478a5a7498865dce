// HttpServer: the metrics endpoint and its thread.
//
// It has a thread of its own ("baton-metrics") instead of a place in the control thread's loop: a
// long answer, or a client that reads slowly, then costs no heartbeat and no deadline, and the
// endpoint still answers when the control thread is the one that stands still.
//
// Invariants:
//  1. At most max_connections are open; one more takes the place of the oldest. A connection has
//     timeout_ms from accept to its end, one request of kMaxHttpRequestBytes, and one answer.
//  2. Nothing of a request is used but its path; answers are computed on this thread, one at a
//     time.
//
// Thread rule: start and destruction by one thread; address() by any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "baton/status.h"
#include "src/base/event_fd.h"
#include "src/base/log.h"
#include "src/base/meters.h"
#include "src/base/thread.h"
#include "src/base/unique_fd.h"

struct pollfd;

namespace baton::api {

class HttpServer {
 public:
  struct Options {
    std::string host = "127.0.0.1";  // numeric, or "localhost"
    uint16_t port = 0;               // 0: an ephemeral one
    uint32_t max_connections = 16;
    uint32_t timeout_ms = 5000;
  };
  struct Content {
    std::string_view type;
    std::string body;
  };
  // Of a path; nothing: 404. Called on the endpoint's thread.
  using Handler = std::function<std::optional<Content>(const std::string& path)>;

  // kInvalidArgument: the host; kAddressInUse, kExhausted, kIoError. `meters` and `logger` are
  // borrowed.
  static Result<std::unique_ptr<HttpServer>> start(const Options& options, Handler handler,
                                                   base::ContextMeters* meters,
                                                   base::Logger& logger);
  // Ends at once; what was not sent is not.
  ~HttpServer();

  const std::string& address() const { return address_; }  // "127.0.0.1:9100"

 private:
  struct Connection {
    base::UniqueFd fd;
    int64_t deadline_ns = 0;
    std::string in;
    std::string out;
    size_t sent = 0;
    bool is_answered = false;  // `out` holds the answer
    bool end_sent = false;     // it has left: what still comes is read away
    bool is_open = true;
  };

  HttpServer(const Options& options, Handler handler, base::ContextMeters* meters,
             base::Logger& logger, base::EventFd wake);
  void run();
  int timeout_ms(int64_t now_ns) const;
  void accept_all(int64_t now_ns);
  void on_ready(Connection& connection);
  void read(Connection& connection);
  void answer(Connection& connection, int status, const std::string& path);
  void write(Connection& connection);
  void expire(int64_t now_ns);

  const Options options_;
  const Handler handler_;
  base::ContextMeters* const meters_;
  base::Logger& logger_;
  std::string address_;
  base::UniqueFd listener_;
  base::EventFd wake_;
  std::atomic<bool> stopping_{false};
  base::Thread thread_;
  // ---- the endpoint's thread
  std::list<Connection> connections_;  // oldest first
  int64_t accept_again_ns_ = 0;
};

}  // namespace baton::api
