#include "baton/progress_word.h"

#include "src/base/assert.h"
#include "src/counter/progress_word_state.h"

namespace baton {

uint64_t ProgressWord::value() const {
  BATON_ASSERT(state_ != nullptr, "ProgressWord: not made by a Context");
  return state_->value();
}

Status ProgressWord::advance_to(uint64_t value) {
  BATON_ASSERT(state_ != nullptr, "ProgressWord: not made by a Context");
  return state_->advance_to(value);
}

void ProgressWord::tick() {
  BATON_ASSERT(state_ != nullptr, "ProgressWord: not made by a Context");
  state_->tick();
}

uint64_t* ProgressWord::address() const {
  BATON_ASSERT(state_ != nullptr, "ProgressWord: not made by a Context");
  return state_->address();
}

}  // namespace baton
