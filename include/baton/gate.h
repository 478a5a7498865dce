// Gate: what a consumer waits on. It opens when every unit that it stands for is placed and
// visible, or when its hand-off fails; a status beside it tells which.
//
// Invariants:
//  1. It opens once, and stays open.
//  2. OK is read only after every byte that it covers is visible to the reader (acquire, partner of
//     the data thread's release).
//  3. Every failure, cancel and deadline opens it with that status; no wait on it outlasts the
//  Grant's deadline + 2 s.
//     In kCaller mode too: the control thread opens gates with errors.
//
// Ownership: a handle onto state that the Grant shares; copyable, outlives the Grant handle. Thread
// rule: thread-safe.
#pragma once

#include <cstdint>
#include <memory>

#include "baton/export.h"
#include "baton/status.h"

namespace baton {

namespace counter {
class GateState;
}

class BATON_EXPORT Gate {
 public:
  Gate() = default;
  explicit Gate(std::shared_ptr<counter::GateState> state) : state_(std::move(state)) {}

  // REQUIRES of all below: made by gate() or all() of a Grant, a GrantGroup or a Pull.

  // True when the gate is open, well or badly. Does not block.
  bool is_open() const;
  // OK once open and arrived; the failure's status once open with an error; kBusy while closed.
  // Does not block.
  Status poll() const;
  // Blocks the calling thread until open, at most timeout_ms; then kDeadlineExceeded (the gate
  // itself stays closed). In kCaller mode somebody else must drive progress meanwhile. MUST NOT be
  // called from a callback.
  Status wait(uint32_t timeout_ms) const;
  // Slots of the receiver that are still short of their target: 1 for a layer of one Grant, one a
  // writer that sends some of the layer for a layer of a GrantGroup. A moment's value; after a
  // failure it may stay above 0.
  uint32_t remaining() const;
  // CLOCK_MONOTONIC of the opening; 0 while closed.
  int64_t opened_ns() const;

 private:
  std::shared_ptr<counter::GateState> state_;
};

}  // namespace baton
