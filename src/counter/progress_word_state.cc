#include "src/counter/progress_word_state.h"

#include <string>
#include <utility>

#include "src/base/assert.h"

namespace baton::counter {

ProgressWordState::ProgressWordState(std::shared_ptr<Waker> waker) : waker_(std::move(waker)) {
  BATON_ASSERT(waker_ != nullptr, "a progress word wakes somebody");
}

Status ProgressWordState::advance_to(uint64_t value) {
  // Relaxed: the one writer reads its own word.
  const uint64_t present = word_.load(std::memory_order_relaxed);
  if (value < present) {
    return Status(StatusCode::kInvalidArgument, "progress word is at " + std::to_string(present) +
                                                    " and cannot go back to " +
                                                    std::to_string(value));
  }
  // Release: partner of the acquire in value().
  word_.store(value, std::memory_order_release);
  waker_->wake();
  return Status::ok();
}

void ProgressWordState::tick() {
  // A plain add, not a read-modify-write: there is one writer.
  word_.store(word_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  waker_->wake();
}

uint64_t* ProgressWordState::address() {
  is_polled_.store(true, std::memory_order_relaxed);
  // A data thread that sleeps now does so without knowing that it has to look.
  waker_->wake();
  return reinterpret_cast<uint64_t*>(&word_);
}

}  // namespace baton::counter
