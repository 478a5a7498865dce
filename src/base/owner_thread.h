// OwnerThread: asserts that owner-only functions are called by one thread.
#pragma once

#include <atomic>
#include <thread>

#include "src/base/assert.h"

namespace baton::base {

// Unbound at first: then every thread passes (set-up, before the owner starts). The hand-over from
// one owner to the next is the caller's to order (a thread start, a join, a lock), so relaxed
// accesses are enough here.
class OwnerThread {
 public:
  // The calling thread becomes the owner. REQUIRES: unbound, or bound to the calling thread.
  void bind() {
    BATON_ASSERT(passes(), "an owner unbinds before another binds");
    owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  }
  // REQUIRES: the calling thread is the owner, or the owner has ended.
  void unbind() { owner_.store(std::thread::id(), std::memory_order_relaxed); }

  // True when unbound or called by the owner.
  bool passes() const {
    const std::thread::id owner = owner_.load(std::memory_order_relaxed);
    return owner == std::thread::id() || owner == std::this_thread::get_id();
  }

  void assert_owner() const {
    BATON_ASSERT(passes(), "this function is for the owning thread only");
  }

 private:
  std::atomic<std::thread::id> owner_{};
};

}  // namespace baton::base
