// Transfer: one submitted request of the sending side; for a hand-off one per Grant, to which
// chunks are appended.
//
// Invariants:
//  1. It ends once: DONE, FAILED or CANCELLED, by min(deadline, lease, peer found dead) + 2 s,
//  provided that progress is driven.
//  2. A pushed Transfer is DONE when the receiver says so, which is when every unit is placed; a
//  raw write when it was
//     flushed; a raw read when its bytes are in local memory.
//  3. From the terminal state on its local memory is neither read nor written on its behalf, and
//  bytes read later are
//     never delivered. Until then source bytes stay constant once their layer is final.
//
// Ownership: the handle shares the Transfer with its Context. Destroying a handle cancels a
// Transfer that has not ended; its memory is not free before Event kTransferEnded. Thread rule:
// thread-safe; move and destroy from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "baton/export.h"
#include "baton/grant.h"
#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/progress_word.h"
#include "baton/status.h"
#include "baton/telemetry.h"

namespace baton {

namespace handoff {
class TransferState;
}

// Answers a Grant that a peer offered (Event kGrantOffered).
struct PushRequest {
  GrantId grant;
  CacheId cache;  // the local cache that sends; the one that the Grant names
  // One list per layer group of the source layout: the blocks that [tokens.begin, tokens.end) of
  // the Grant touches.
  std::vector<std::vector<uint32_t>> block_lists;
  uint32_t deadline_ms = 0;  // 0: what is left of the Grant's
};

// A part of prefill: these tokens become final layer by layer. Layer ordinal l of the chunk is
// final once *word >= base + l
// + 1. Chunks of one Transfer adjoin: each begins where the one before ended.
struct ChunkPlan {
  TokenRange tokens;
  const ProgressWord* word =
      nullptr;  // borrowed for the call (its state is shared); nullptr: final already
  uint64_t base = 0;
};

// One contiguous copy of a raw write or read.
struct Run {
  uint64_t local_offset_bytes = 0;
  uint64_t remote_offset_bytes = 0;
  uint64_t length_bytes = 0;
};

// Moves runs between one local and one remote section, under a range grant.
struct RawRequest {
  GrantId grant;
  SectionId local_section;
  SectionId remote_section;
  std::vector<Run> runs;
  // Sent to the peer (Event kMessage) after the bytes of this Transfer are visible there. Writes
  // only; <= 64 KiB.
  std::vector<uint8_t> message;
  bool has_message = false;
  uint32_t deadline_ms = 0;
};

class BATON_EXPORT Transfer {
 public:
  Transfer() = default;
  Transfer(Transfer&&) noexcept;
  Transfer& operator=(Transfer&&) noexcept;
  ~Transfer();

  bool is_valid() const { return state_ != nullptr; }
  // REQUIRES of all below: is_valid() (made by Context::push, write or read).

  TransferId id() const;
  State state() const;
  Status status() const;  // OK while active and when done; else why it fails or failed

  // Pushed Transfers only. kInvalidArgument: chunk does not adjoin, or leaves the Grant's tokens;
  // kFailedPrecondition: sealed; kCancelled: the Grant is ending; kBusy: too many chunks
  // unfinished, try again after progress. Does not block.
  Status submit_chunk(const ChunkPlan& chunk);
  // Everything is final: sends what never ticked, of chunks submitted and of tokens that no chunk
  // named. Idempotent.
  Status seal();

  // Stops: the peer is told, memory comes back quiet. Idempotent, does not block.
  void cancel(std::string reason = "cancelled by the sender");
  // As Grant::wait.
  Status wait(uint32_t timeout_ms) const;

  TransferRecord record() const;
  // Target blocks (position in the Grant's list of group g) whose units did not all get a verdict;
  // empty when DONE.
  std::vector<FailedBlock> failed_blocks() const;

 private:
  friend class api::ContextImpl;
  Transfer(std::shared_ptr<api::ContextImpl> context,
           std::shared_ptr<handoff::TransferState> state);
  std::shared_ptr<api::ContextImpl> context_;
  std::shared_ptr<handoff::TransferState> state_;
};

}  // namespace baton
