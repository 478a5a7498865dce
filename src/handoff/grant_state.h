// GrantState: the receiver's side of one hand-off, shared by the caller's handle, the control
// thread and the data thread.
//
// Invariants:
//  1. Everything under "constant" is set before the state is shared.
//  2. Gates fail from whoever wins Lifecycle::begin_cancel, and from a data thread that ends the
//     Grant meanwhile; gates of layers open from the data thread.
//  3. With its gates the failure of a Grant reaches its group, if it has one.
//  4. Slots go back only after the terminal state, and pages are quiet then.
//
// Thread rule: per group of members, as commented.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "baton/event.h"
#include "baton/grant.h"
#include "baton/ids.h"
#include "baton/layout.h"
#include "src/base/meters.h"
#include "src/counter/counter_table.h"
#include "src/counter/gate_state.h"
#include "src/handoff/grant_group_state.h"
#include "src/handoff/lifecycle.h"
#include "src/handoff/permission_table.h"
#include "src/handoff/wait_note.h"
#include "src/section/section_record.h"
#include "src/wire/messages.h"

namespace baton::handoff {

class PullState;

class GrantState {
 public:
  struct Layer {
    counter::SlotIndex slot;
    uint8_t generation = 0;
    uint64_t units = 0;
    uint64_t bytes = 0;
    std::shared_ptr<counter::GateState> gate;
    // Written by the data thread, read by record().
    std::atomic<int64_t> first_ns{0};
    std::atomic<int64_t> placed_ns{0};
    std::atomic<uint64_t> counted{0};
  };

  // Fails every gate and starts the end. True for the one call that did. Any thread; does not
  // block.
  bool begin_cancel(Status why, int64_t now_ns);
  // Opens every gate that is still closed with `why`, and those of its group. Any thread;
  // idempotent; does not block.
  void fail_gates(const Status& why, int64_t now_ns);
  // Data thread: layer `ordinal` has all its units.
  void layer_arrived(uint32_t ordinal, int64_t now_ns);
  // Once, after the terminal state, when no other thread finds this state any more: slots and
  // sections are free again.
  void give_back();
  GrantRecord record() const;
  std::string describe() const;  // "grant 12 (tag \"req-1\", peer 3)"
  RequestKind request_kind() const {
    if (pull != nullptr) return RequestKind::kPull;
    return is_ranges ? RequestKind::kRangeGrant : RequestKind::kKvGrant;
  }
  uint64_t num_blocks() const;

  // ---- constant
  PullState* pull = nullptr;  // not null: this is one
  GrantId id;
  PeerId peer;
  std::string tag;
  bool is_ranges = false;
  bool allow_write = true;
  bool allow_read = false;
  CacheId target_cache;
  CacheId source_cache;
  TokenRange tokens;
  std::vector<HeadRange> heads;  // as in GrantRequest
  std::vector<std::vector<uint32_t>> block_lists;
  std::vector<GrantOffer::Range> ranges;
  uint32_t num_layers = 0;
  std::unique_ptr<Layer[]> layers;
  std::shared_ptr<counter::GateState> all;
  std::shared_ptr<GrantGroupState> group;  // nullptr: it is one of its own
  uint32_t group_writer = 0;               // its place in the group's request
  uint64_t total_units = 0;
  uint64_t total_bytes = 0;
  int64_t granted_ns = 0;
  int64_t deadline_ns = 0;
  int64_t lease_ns = 0;
  counter::CounterTable* counters = nullptr;  // where the slots go back; outlives the state
  counter::SlotExtents slots;
  std::vector<section::SectionUse> uses;
  std::shared_ptr<base::PeerMeters> meters;  // of its peer; null: nobody counts

  Lifecycle life;
  std::atomic<bool> cancel_queued{false};  // it uses its place in the reserved lane once
  // When its cancel began, or the first of those that came too late; 0: none did.
  std::atomic<int64_t> cancelled_ns{0};
  WaitNote wait;

  // ---- data thread
  PermissionTable permissions;
  uint32_t layers_left = 0;
  int64_t cancel_seen_ns = 0;  // 0: the data thread has not begun the end
  uint32_t fenced_paths = 0;   // by bit, of its peer, since it was opened
  bool quiesced = false;       // the writer's word arrived
  std::vector<wire::Quiesced::OnPath> quiesced_paths;
  uint64_t settle_seq = 0;  // of the last SETTLE that was counted
  std::atomic<uint64_t> units_counted{0};
  // Of a pull: see GrantRecord.
  std::atomic<uint64_t> layers_read_again{0};
  std::atomic<int64_t> settling_ns{0};
};

}  // namespace baton::handoff
