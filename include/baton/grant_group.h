// GrantGroup: several Grants, one per writer, that together stand for one hand-off (fan-in): the KV
// of a request whose heads, or tokens, lie on several prefill ranks.
//
// Invariants:
//  1. Every byte of the hand-off is written by one writer: what two would write is refused, and
//  what
//     nobody would write, unless allow_gaps.
//  2. gate(layer) opens when all its writers' units of that layer are placed and visible, all()
//  when
//     every Grant is DONE.
//  3. The first failure of any Grant (peer lost, deadline, cancel, ...) opens every gate of the
//  group
//     that is still closed with that status, at once, and cancels the other Grants. Their own
//     status is then kCancelled, and says which writer it was.
//  4. Each Grant ends by its own verdict, and its memory is proven quiet on its own. The group is
//     terminal when all of its Grants are, which is when its pages may go back: DONE, or with the
//     status of the first failure. Then Event kGrantGroupEnded is reported, once, after the
//     kGrantEnded of each.
//
// Fan-out (one prefill to several decoders) needs no group: each reader grants on its own.
//
// Ownership: the handle owns the handles of its Grants, and shares their state with the Context.
// Destroying it cancels what has not ended. Thread rule: thread-safe; move and destroy from one
// thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "baton/export.h"
#include "baton/gate.h"
#include "baton/grant.h"
#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/senders.h"
#include "baton/status.h"
#include "baton/telemetry.h"

namespace baton {

namespace handoff {
class GrantGroupState;
}

struct GrantGroupRequest {
  struct Writer {
    PeerId peer;
    std::string source_cache;  // name of the peer's cache that sends
    // Its part of the request's tokens; empty: all. Parts need a layout that has only groups of
    // kinds kFullAttention and kMlaLatent.
    TokenRange tokens = {};
    // As GrantRequest::heads. Of the writers that have the same tokens, all name their heads or
    // none; where none does, they are given by assign_senders() in this order and with target_rank.
    std::vector<HeadRange> heads = {};
  };
  CacheId cache;    // the local cache that receives
  std::string tag;  // each writer's Grant has it; <= 4096 bytes, any content
  TokenRange tokens;
  // As GrantRequest::block_lists, for all writers together: each is given the entries of its
  // tokens.
  std::vector<std::vector<uint32_t>> block_lists;
  std::vector<Writer> writers;  // 1 to kMaxSenders
  uint32_t target_rank = 0;     // see assign_senders()
  bool allow_gaps = false;      // some of the target's heads and tokens may have no writer
  uint32_t deadline_ms = 0;     // as GrantRequest's, of every Grant
  uint32_t lease_ms = 0;
};

// Errors of Context::grant_group. kInvalidArgument: the request contradicts itself, or two writers
// write the same bytes (which writers, group, tokens and heads), or more of them take part than
// max_live lets live; kMismatch: bytes that nobody
// writes (group, token and head), or a writer's layout; and what Context::grant answers for one
// writer, which the message then names ("writer 2 (peer 5): ...").
class BATON_EXPORT GrantGroup {
 public:
  GrantGroup() = default;
  GrantGroup(GrantGroup&&) noexcept;
  GrantGroup& operator=(GrantGroup&&) noexcept;
  ~GrantGroup();

  bool is_valid() const { return state_ != nullptr; }
  // REQUIRES of all below: is_valid() (made by Context::grant_group).

  GrantGroupId id() const;
  // kActive until the first failure or the end of all.
  State state() const;
  // OK while active and when done; else why it fails or failed: the first failure, with the writer.
  Status status() const;

  // REQUIRES: layer < num_layers().
  Gate gate(uint32_t layer) const;
  Gate all() const;
  uint32_t num_layers() const;

  // Of writer `writer` of the request; nullptr: nothing of the hand-off fell to it, so it was
  // offered no Grant. Valid as long as the group is not moved or destroyed. REQUIRES: writer <
  // num_writers().
  const Grant* grant(uint32_t writer) const;
  uint32_t num_writers() const { return static_cast<uint32_t>(grants_.size()); }
  // By writer; empty records for those without a Grant. Complete after the terminal state.
  std::vector<GrantRecord> records() const;

  // Cancels every Grant. Idempotent, does not block.
  void cancel(std::string reason = "cancelled by the receiver");
  // As Grant::wait, until all have ended.
  Status wait(uint32_t timeout_ms) const;

 private:
  friend class api::ContextImpl;
  GrantGroup(std::shared_ptr<api::ContextImpl> context,
             std::shared_ptr<handoff::GrantGroupState> state, std::vector<Grant> grants);
  std::shared_ptr<api::ContextImpl> context_;
  std::shared_ptr<handoff::GrantGroupState> state_;
  std::vector<Grant> grants_;  // by writer; those without one are not valid
};

}  // namespace baton
