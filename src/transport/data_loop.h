// DataLoop: the turn of the data path and the thread that repeats it.
//
// One turn: the work's own queues and transfers first, then each rail's progress. When a turn did
// nothing the loop polls on for busy_poll_us, then sleeps on one epoll descriptor: the waker, the
// rails' wait descriptors, and the work's next timer.
//
// Invariants:
//  1. Whoever has work for the loop publishes it first and then calls Waker::wake(); no wake-up is
//  lost (src/counter/waker.h).
//  2. The loop itself allocates and locks nothing.
//
// Thread rule: turn() by one thread at a time (the library's thread, or the caller under the
// Context's progress lock).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "baton/options.h"
#include "baton/status.h"
#include "src/base/clock.h"
#include "src/base/thread.h"
#include "src/base/unique_fd.h"
#include "src/counter/waker.h"
#include "src/transport/rail.h"

namespace baton::transport {

// What a turn works on, besides the rails.
class DataWork {
 public:
  virtual ~DataWork() = default;
  // Does what can be done without blocking; returns how much.
  virtual uint32_t turn(int64_t now_ns) = 0;
  // After the rails' progress: reports that may not be acted on within a plug-in's callback.
  virtual uint32_t after_rails(int64_t now_ns) = 0;
  // Something is queued right now (asked after prepare_sleep).
  virtual bool has_work() const = 0;
  // When turn() must be called again at the latest; INT64_MAX: never.
  virtual int64_t next_timer_ns() const = 0;
};

class DataLoop {
 public:
  struct Options {
    uint32_t busy_poll_us = 20;
    std::vector<int> cpus;
    // Where the time of each turn is noted; null: nowhere. Borrowed; outlives the loop.
    std::atomic<int64_t>* last_turn_ns = nullptr;
  };

  // Borrowed: work, rails, clock; they outlive the loop.
  static Result<std::unique_ptr<DataLoop>> create(Options options, DataWork* work,
                                                  std::shared_ptr<counter::Waker> waker,
                                                  std::vector<Rail*> rails, base::Clock& clock);
  ~DataLoop();

  // Starts the library's thread.
  Status start();
  // Ends it and waits for its current turn. Idempotent.
  void stop();

  // One turn, for a caller who drives.
  uint32_t turn();
  // Between turns of a caller who drives: fd() polls readable as soon as turn() has work, but for
  // what only time brings. True: it has work now (fd() may not tell).
  bool arm();
  int fd() const { return epoll_.get(); }
  // When turn() must be called again at the latest; INT64_MAX: never.
  int64_t next_turn_ns() const;
  // Sleeps until there is work or `until_ns`.
  void sleep(int64_t until_ns);

 private:
  // Bytes a rail may move per path in one turn: small enough that cancel and fence are seen soon.
  static constexpr uint64_t kBudgetBytes = 256u << 10;
  // Longest sleep while a rail has no descriptor to wait on.
  static constexpr int64_t kPollIntervalNs = 1'000'000;

  DataLoop(Options options, DataWork* work, std::shared_ptr<counter::Waker> waker,
           std::vector<Rail*> rails, base::Clock& clock);
  Status add_descriptors();
  void run();

  const Options options_;
  DataWork* const work_;
  const std::shared_ptr<counter::Waker> waker_;
  const std::vector<Rail*> rails_;
  base::Clock& clock_;
  base::UniqueFd epoll_;
  bool must_poll_ = false;
  std::atomic<bool> stopping_{false};
  base::Thread thread_;
};

}  // namespace baton::transport
