// Grant: the receiver's permission for one writer to write named blocks (or plain byte ranges) for
// one hand-off.
//
// Invariants:
//  1. It ends once: DONE, FAILED or CANCELLED. After that no byte of its memory is written or read
//  on its behalf.
//  2. It ends by min(deadline, lease, peer found dead) + 2 s, provided that progress is driven. A
//  clock alone never ends it: the
//     memory is proven quiet first (the writer's word, or a fence).
//  3. Its gates open with an error as soon as the failure is known, which is before the memory is
//  quiet: pages go back to
//     their pool on the terminal state, not on a gate's error.
//
// Ownership: the handle shares the Grant with its Context. Destroying a handle cancels a Grant that
// has not ended; its pages are not free before Event kGrantEnded. Thread rule: thread-safe; move
// and destroy from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "baton/export.h"
#include "baton/gate.h"
#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/status.h"
#include "baton/telemetry.h"

namespace baton {

namespace handoff {
class GrantState;
}
namespace api {
class ContextImpl;
}

// Where a Grant or Transfer stands. The last three are terminal.
enum class State : uint8_t { kActive, kCancelling, kDone, kFailed, kCancelled };

BATON_EXPORT std::string_view state_name(State state);
constexpr bool is_terminal(State state) { return state >= State::kDone; }

// Decode asks prefill to write tokens [tokens.begin, tokens.end) of one request into `blocks`.
struct GrantRequest {
  PeerId peer;
  CacheId cache;             // the local cache that receives
  std::string source_cache;  // name of the peer's cache that sends
  std::string tag;  // how the peer's engine recognises the request; <= 4096 bytes, any content
  TokenRange tokens;
  // One list per layer group of the layout: block_lists[g][i] holds the tokens of the i-th block
  // that [begin, end) touches.
  std::vector<std::vector<uint32_t>> block_lists;
  // The heads that this writer sends, one range per layer group of the layout; both caches hold
  // them. A range without heads: nothing of that group (its block list is named all the same).
  // Empty: of every group all heads that both hold. See assign_senders().
  std::vector<HeadRange> heads = {};
  uint32_t deadline_ms = 0;  // 0: ContextOptions::default_deadline_ms; at most a day
  uint32_t lease_ms = 0;     // 0: ContextOptions::default_lease_ms; at most a day
};

// A peer may read or write these bytes directly, until the Grant is cancelled or its deadline
// passes.
struct RangeGrantRequest {
  struct Range {
    SectionId section;
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
  };
  PeerId peer;
  std::string tag;
  std::vector<Range> ranges;
  bool allow_write = true;
  bool allow_read = false;
  uint32_t deadline_ms = 0;
  uint32_t lease_ms = 0;
};

class BATON_EXPORT Grant {
 public:
  Grant() = default;
  Grant(Grant&&) noexcept;
  Grant& operator=(Grant&&) noexcept;
  ~Grant();

  bool is_valid() const { return state_ != nullptr; }
  // REQUIRES of all below: is_valid() (made by Context::grant or grant_ranges).

  GrantId id() const;
  State state() const;
  // OK while active and when done; else why it fails or failed.
  Status status() const;

  // Gate of one layer, by its ordinal in the layout (groups in order, layers in order). REQUIRES:
  // layer < num_layers().
  Gate gate(uint32_t layer) const;
  // Gate of the whole hand-off.
  Gate all() const;
  uint32_t num_layers() const;  // 0 for a range grant

  // Starts the end: gates open with kCancelled, the writer is told, memory comes back quiet.
  // Idempotent, does not block. The normal way to end a range grant.
  void cancel(std::string reason = "cancelled by the receiver");
  // Blocks until terminal, at most timeout_ms (then kDeadlineExceeded, and the Grant goes on). OK
  // when it ended DONE, or its failure. In kCaller mode it drives progress.
  Status wait(uint32_t timeout_ms) const;
  // Per layer: when its last unit was placed and its gate opened. Complete after the terminal
  // state.
  GrantRecord record() const;

 private:
  friend class api::ContextImpl;
  Grant(std::shared_ptr<api::ContextImpl> context, std::shared_ptr<handoff::GrantState> state);
  std::shared_ptr<api::ContextImpl> context_;
  std::shared_ptr<handoff::GrantState> state_;
};

}  // namespace baton
