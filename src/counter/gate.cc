#include "baton/gate.h"

#include "src/base/assert.h"
#include "src/base/clock.h"
#include "src/counter/gate_state.h"

namespace baton {

bool Gate::is_open() const {
  BATON_ASSERT(state_ != nullptr, "Gate: not made by a Grant");
  return state_->is_open();
}

Status Gate::poll() const {
  BATON_ASSERT(state_ != nullptr, "Gate: not made by a Grant");
  return state_->poll();
}

Status Gate::wait(uint32_t timeout_ms) const {
  BATON_ASSERT(state_ != nullptr, "Gate: not made by a Grant");
  return state_->wait(base::monotonic_now_ns() + int64_t{timeout_ms} * 1'000'000);
}

uint32_t Gate::remaining() const { return state_->remaining(); }
int64_t Gate::opened_ns() const {
  BATON_ASSERT(state_ != nullptr, "Gate: not made by a Grant");
  return state_->opened_ns();
}

}  // namespace baton
