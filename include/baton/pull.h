// ReadGrant and Pull: a hand-off in which the side that receives does the reading.
//
// Prefill, the source, offers its blocks to be read: a ReadGrant for one reader. Decode, the
// reader, answers it with a Pull. As layers become final the source counts their tokens into slots
// of the reader, which reads what they complete, and opens the Gate of a layer when its bytes are
// in local memory. Several readers have a ReadGrant each, over the same blocks.
//
// Invariants:
//  1. Each ends once: DONE, FAILED or CANCELLED, by min(deadline, lease, peer found dead) + 2 s,
//     provided that progress is driven.
//  2. The reader decides. The ReadGrant takes its word over: DONE when the reader has every byte,
//     or the reader's code. Without that word (the reader's process stands still) it is
//     FAILED(IN_DOUBT); when the reader died, FAILED(PEER_LOST).
//  3. From a ReadGrant's terminal state on its blocks are not read on its behalf any more: nothing
//     that is written there later is ever delivered or counted. Blocks that several ReadGrants open
//     are the caller's again when all of these have ended.
//  4. From a Pull's terminal state on no byte of its blocks is written on its behalf. Its Gates
//     open with an error as soon as the failure is known, which is before that.
//
// Ownership: a handle shares its state with its Context. Destroying a handle cancels what has not
// ended; the memory is not free before Event kGrantEnded (ReadGrant) or kTransferEnded (Pull).
// Thread rule: thread-safe; move and destroy from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "baton/export.h"
#include "baton/gate.h"
#include "baton/grant.h"
#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/status.h"
#include "baton/telemetry.h"
#include "baton/transfer.h"

namespace baton {

namespace handoff {
class PullState;
class ReadGrantState;
}  // namespace handoff
namespace api {
class ContextImpl;
}

// Prefill lets decode read tokens [tokens.begin, tokens.end) of one request out of `blocks`.
struct ReadGrantRequest {
  PeerId peer;               // the one that reads
  CacheId cache;             // the local cache that is read
  std::string target_cache;  // name of the peer's cache that receives
  std::string tag;           // how the peer's engine recognises the request; as GrantRequest::tag
  TokenRange tokens;
  // One list per layer group of the layout: block_lists[g][i] holds the tokens of the i-th block
  // that [begin, end) touches. A block may be in the lists of any number of ReadGrants.
  std::vector<std::vector<uint32_t>> block_lists;
  uint32_t deadline_ms = 0;  // 0: ContextOptions::default_deadline_ms; at most a day
  uint32_t lease_ms = 0;     // 0: ContextOptions::default_lease_ms; at most a day
};

class BATON_EXPORT ReadGrant {
 public:
  ReadGrant() = default;
  ReadGrant(ReadGrant&&) noexcept;
  ReadGrant& operator=(ReadGrant&&) noexcept;
  ~ReadGrant();

  bool is_valid() const { return state_ != nullptr; }
  // REQUIRES of all below: is_valid() (made by Context::offer_read).

  GrantId id() const;
  State state() const;
  Status status() const;  // OK while active and when done; else why it fails or failed

  // As Transfer::submit_chunk, and before or after the reader came: these tokens become final layer
  // by layer. Source bytes stay constant from then on until the end.
  Status submit_chunk(const ChunkPlan& chunk);
  // Everything is final, of chunks submitted and of tokens that no chunk named. Idempotent.
  Status seal();

  // Stops: reads are refused from now on, the reader is told. Idempotent, does not block.
  void cancel(std::string reason = "cancelled by the source");
  // As Grant::wait.
  Status wait(uint32_t timeout_ms) const;
  // Per layer: when the last chunk's tick was seen, and when the reader was told of its last token.
  // `units` and `bytes` are what the reader read, known when DONE.
  TransferRecord record() const;

 private:
  friend class api::ContextImpl;
  ReadGrant(std::shared_ptr<api::ContextImpl> context,
            std::shared_ptr<handoff::ReadGrantState> state);
  std::shared_ptr<api::ContextImpl> context_;
  std::shared_ptr<handoff::ReadGrantState> state_;
};

// Answers a ReadGrant that a peer offered (Event kGrantOffered, GrantOffer::is_read).
struct PullRequest {
  GrantId grant;
  CacheId cache;  // the local cache that receives; the one that the ReadGrant names
  // One list per layer group of the target layout: the blocks that the Grant's tokens touch.
  std::vector<std::vector<uint32_t>> block_lists;
  uint32_t deadline_ms = 0;  // 0: what is left of the Grant's
};

class BATON_EXPORT Pull {
 public:
  Pull() = default;
  Pull(Pull&&) noexcept;
  Pull& operator=(Pull&&) noexcept;
  ~Pull();

  bool is_valid() const { return state_ != nullptr; }
  // REQUIRES of all below: is_valid() (made by Context::pull).

  TransferId id() const;
  GrantId grant() const;
  State state() const;
  Status status() const;  // OK while active and when done; else why it fails or failed

  // Gate of one layer, by its ordinal in the layout: open when all its bytes are in local memory.
  // REQUIRES: layer < num_layers().
  Gate gate(uint32_t layer) const;
  // Gate of the whole hand-off.
  Gate all() const;
  uint32_t num_layers() const;

  // Starts the end: gates open with kCancelled, the source is told, memory comes back quiet.
  // Idempotent, does not block.
  void cancel(std::string reason = "cancelled by the reader");
  // As Grant::wait.
  Status wait(uint32_t timeout_ms) const;
  // Per layer: first_ns when its first tokens were final at the source, placed_ns when its last
  // byte was here. `units` counts those of layers that are whole.
  GrantRecord record() const;

 private:
  friend class api::ContextImpl;
  Pull(std::shared_ptr<api::ContextImpl> context, std::shared_ptr<handoff::PullState> state);
  std::shared_ptr<api::ContextImpl> context_;
  std::shared_ptr<handoff::PullState> state_;
};

}  // namespace baton
