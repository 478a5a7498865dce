// Thread: a named thread of the library. It blocks all signals, so that the process's handlers run
// on the process's own threads, and is joined by its owner's destructor.
//
// Thread rule: externally synchronised; join() not from the thread itself.
#pragma once

#include <pthread.h>

#include <functional>
#include <string>
#include <vector>

#include "baton/status.h"

namespace baton::base {

struct ThreadOptions {
  std::string name;       // shown by ps and gdb; the kernel keeps 15 bytes
  std::vector<int> cpus;  // CPUs that it may run on; empty: as the creating thread
};

class Thread {
 public:
  Thread() = default;
  // `body` MUST NOT throw. kInvalidArgument: a CPU that does not exist or is not allowed here;
  // kExhausted: no more threads (RLIMIT_NPROC, memory).
  static Result<Thread> start(const ThreadOptions& options, std::function<void()> body);

  Thread(Thread&& other) noexcept;
  // Joins what it held.
  Thread& operator=(Thread&& other) noexcept;
  ~Thread() { join(); }

  bool is_running() const { return running_; }
  // Waits for the end of the thread. Idempotent; does nothing when none was started.
  void join();

 private:
  explicit Thread(pthread_t handle) : handle_(handle), running_(true) {}

  pthread_t handle_{};
  bool running_ = false;
};

}  // namespace baton::base
