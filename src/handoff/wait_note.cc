#include "src/handoff/wait_note.h"

namespace baton::handoff {

const char* wait_name(Wait why) {
  switch (why) {
    case Wait::kQueued:
      return "queued";
    case Wait::kUnits:
      return "units";
    case Wait::kQuiesced:
      return "quiesced";
    case Wait::kSignalled:
      return "signalled_units";
    case Wait::kRevoked:
      return "cancel";
    case Wait::kFence:
      return "fence";
    case Wait::kLease:
      return "lease";
    case Wait::kPath:
      return "path";
    case Wait::kChunk:
      return "chunk";
    case Wait::kWord:
      return "progress_word";
    case Wait::kRoom:
      return "room";
    case Wait::kCredits:
      return "credits";
    case Wait::kTurn:
      return "turn";
    case Wait::kOps:
      return "posts";
    case Wait::kFlush:
      return "flush";
    case Wait::kSettle:
      return "settlement";
    case Wait::kVerdict:
      return "grant_end";
    case Wait::kReader:
      return "reader";
    case Wait::kReadDone:
      return "read_done";
    case Wait::kReads:
      return "reads";
  }
  return "unknown";
}

std::string wait_text(const WaitSeen& wait) {
  switch (wait.why) {
    case Wait::kQueued:
      return "the data path, to take it from its queue";
    case Wait::kUnits:
      return "units of the writer";
    case Wait::kQuiesced:
      return "QUIESCED, the writer's word of what it has signalled";
    case Wait::kSignalled:
      return "units that the writer has signalled, to arrive";
    case Wait::kRevoked:
      return "cancel(), which ends a range Grant";
    case Wait::kFence:
      return "FENCED of path " + std::to_string(wait.detail);
    case Wait::kLease:
      return "the peer's first echoed heartbeat: no lease is held before";
    case Wait::kPath:
      return "a Path: none is open";
    case Wait::kChunk:
      return "the caller's next chunk, or seal()";
    case Wait::kWord:
      return "the ProgressWord of layer " + std::to_string(wait.detail) + ": it is " +
             std::to_string(wait.seen) + ", and must be " + std::to_string(wait.needed);
    case Wait::kRoom:
      return "room on a Path: as much as may be is unfinished";
    case Wait::kCredits:
      return "credits of the receiver";
    case Wait::kTurn:
      return "its turn";
    case Wait::kOps:
      return "the transport, to finish " + std::to_string(wait.needed) + " posts";
    case Wait::kFlush:
      return "the answer to its flush";
    case Wait::kSettle:
      return "units of a Path that died, to be written again";
    case Wait::kVerdict:
      return "GRANT_END, the receiver's verdict";
    case Wait::kReader:
      return "the reader, to take up the offer";
    case Wait::kReadDone:
      return "READ_DONE, the reader's word";
    case Wait::kReads:
      return "tokens that are final at the source, and the reads of them";
  }
  return "something unknown";
}

}  // namespace baton::handoff
