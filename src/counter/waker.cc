#include "src/counter/waker.h"

#include <utility>

namespace baton::counter {

Result<std::shared_ptr<Waker>> Waker::create() {
  auto event = base::EventFd::create();
  if (!event.is_ok()) return event.status();
  return std::shared_ptr<Waker>(new Waker(std::move(event).value()));
}

// Why read-modify-writes on all three sides, and not stores: each continues the release sequence of
// the ones before it, so prepare_sleep() synchronises with every wake() that came earlier, and the
// check for work that follows it sees what was published. (A store in between would cut that off.)

void Waker::wake() {
  // Acquire and release: partner of the exchanges in prepare_sleep() and finish_sleep().
  if (!sleeping_.exchange(false, std::memory_order_acq_rel)) return;
  event_.signal();
}

void Waker::prepare_sleep() { (void)sleeping_.exchange(true, std::memory_order_acq_rel); }

void Waker::finish_sleep() {
  (void)sleeping_.exchange(false, std::memory_order_acq_rel);
  // Always: a wake() may have written after an earlier finish_sleep(), and a descriptor left
  // readable would turn every later sleep into a spin.
  (void)event_.clear();
}

}  // namespace baton::counter
