#include "examples/reference_engine/compute_pool.h"

#include <pthread.h>
#include <sched.h>

#include <csignal>

namespace baton_engine {
namespace {

// About 20 us: longer than the serial parts between two matrix products of a decode step, so that
// the threads seldom sleep inside a step, and short enough to give the core up while a gate is
// awaited.
constexpr int kSpins = 400;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

uint32_t usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (::sched_getaffinity(0, sizeof(cores), &cores) != 0) return 1;
  const int count = CPU_COUNT(&cores);
  return count < 1 ? 1 : static_cast<uint32_t>(count);
}

}  // namespace

ComputePool::ComputePool(uint32_t threads) {
  const uint32_t total = threads == 0 ? usable_cores() : threads;
  workers_.reserve(total - 1);
  // Workers are born with every signal blocked: signals are the program's main thread's.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  for (uint32_t i = 1; i < total; ++i) {
    workers_.emplace_back([this] { worker_main(); });
    ::pthread_setname_np(workers_.back().native_handle(), "engine-compute");
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ComputePool::~ComputePool() {
  stop_.store(true, std::memory_order_relaxed);
  wake_.fetch_add(1, std::memory_order_release);
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ComputePool::run(uint32_t tiles, TileFunction function, void* context) {
  if (tiles == 0) return;
  const std::lock_guard lock(caller_);
  function_ = function;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  const auto round = static_cast<uint32_t>(ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  ticket_.store(uint64_t{round} << 32 | tiles, std::memory_order_release);
  if (tiles > 1 && !workers_.empty()) {
    wake_.fetch_add(1, std::memory_order_release);
    wake_.notify_all();
  }
  run_tiles(round);
  int spins = 0;
  for (uint32_t done = done_.load(std::memory_order_acquire); done != tiles;
       done = done_.load(std::memory_order_acquire)) {
    if (++spins < kSpins) {
      pause_briefly();
    } else {
      done_.wait(done, std::memory_order_acquire);
    }
  }
}

void ComputePool::run_tiles(uint32_t round) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(ticket >> 32) == round && static_cast<uint32_t>(ticket) != 0) {
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acquire,
                                       std::memory_order_acquire)) {
      continue;
    }
    function_(context_, static_cast<uint32_t>(ticket) - 1);
    done_.fetch_add(1, std::memory_order_release);
    done_.notify_one();
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

void ComputePool::worker_main() {
  uint32_t seen = 0;
  for (;;) {
    int spins = 0;
    uint32_t now = wake_.load(std::memory_order_acquire);
    while (now == seen) {
      if (++spins < kSpins) {
        pause_briefly();
      } else {
        wake_.wait(seen, std::memory_order_acquire);
      }
      now = wake_.load(std::memory_order_acquire);
    }
    seen = now;
    if (stop_.load(std::memory_order_relaxed)) return;
    run_tiles(static_cast<uint32_t>(ticket_.load(std::memory_order_acquire) >> 32));
  }
}

}  // namespace baton_engine
