// ChunkSubmitter: tells a hand-off of one chunk of prefill after the other. When it has as many
// chunks unfinished as it takes, prefill goes on, and the chunk goes along with the next one that
// finds room; what finds none by the end, seal() sends.
//
// Thread rule: one thread, the one that advances the word.
#pragma once

#include <cstdint>

#include "baton/progress_word.h"
#include "baton/status.h"
#include "examples/reference_engine/outgoing.h"

namespace baton_engine {

class ChunkSubmitter {
 public:
  // Both are borrowed. The word is ticked once for each layer of each chunk, and else by nobody.
  ChunkSubmitter(Outgoing& outgoing, const baton::ProgressWord& word)
      : outgoing_(outgoing), word_(word) {}

  // The tokens from the end of the chunk before to `end_token` come next. Call before the first
  // tick for them. Errors: as Transfer::submit_chunk, without kBusy.
  baton::Status add(uint32_t end_token);
  // The tokens before it were submitted.
  uint32_t submitted_end() const { return submitted_end_; }

 private:
  Outgoing& outgoing_;
  const baton::ProgressWord& word_;
  uint32_t submitted_end_ = 0;
};

// All is computed. Waits for room, at most until the hand-off ends, which its deadline bounds.
// Errors: as Transfer::seal, without kBusy; kCancelled when interrupted.
baton::Status seal_when_room(Outgoing& outgoing);

}  // namespace baton_engine
