// ProgressWord: the sender-side 64-bit word that tells how many layers are final.
//
// Invariants:
//  1. One writer at a time. It only grows, for the life of the process; nothing resets it.
//  2. advance_to(v) is a release: KV bytes written before it are sent as they were then.
//
// Ownership: shared with the Transfers that read it; the handle may be destroyed first. Thread
// rule: one writer; value() from any thread.
#pragma once

#include <cstdint>
#include <memory>

#include "baton/export.h"
#include "baton/status.h"

namespace baton {

namespace counter {
class ProgressWordState;
}
namespace api {
class ContextImpl;
}

class BATON_EXPORT ProgressWord {
 public:
  ProgressWord() = default;

  bool is_valid() const { return state_ != nullptr; }
  // REQUIRES of all below: is_valid() (made by Context::create_progress_word).

  uint64_t value() const;
  // Sets the word to `value` and wakes the data thread if it sleeps. kInvalidArgument, with nothing
  // changed, when `value` is below the present one. Does not block or allocate; at most one system
  // call.
  Status advance_to(uint64_t value);
  // advance_to(value() + 1).
  void tick();
  // The word itself, 64-byte aligned, for a writer that Baton does not call (a GPU kernel, another
  // library). Such a writer uses release stores, and never goes back. Nobody wakes the data thread
  // for it: from this call on, the data path looks at the word every millisecond while a Transfer
  // waits for it; in kCaller mode event_fd() asks for progress() as often.
  uint64_t* address() const;

 private:
  friend class api::ContextImpl;
  explicit ProgressWord(std::shared_ptr<counter::ProgressWordState> state)
      : state_(std::move(state)) {}
  std::shared_ptr<counter::ProgressWordState> state_;
};

}  // namespace baton
