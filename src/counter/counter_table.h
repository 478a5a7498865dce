// CounterTable: the receiver's Counters, a fixed array of slots into which arriving immediates add
// units.
//
// Invariants:
//  1. A slot's value is monotonic and never reset; arming records the value it had (its base), and
//  what counts is
//     value - base <= target. An immediate that would pass the target is refused whole.
//  2. A slot belongs to at most one owner at a time: free -> allocated -> armed -> free. Each
//  release moves it to the
//     next of 64 generations, so that an immediate of an earlier owner is told from one of the
//     present.
//  3. Freed slots are given out again in the order in which they were freed, and only after every
//  slot freed (or never
//     used) before them: a late immediate meets the oldest generation, not the newest.
//  4. apply() allocates, locks and logs nothing.
//
// Memory: kMaxSlots * 64 bytes = 16 MiB of address space, committed page by page when a slot is
// first given out.
//
// Thread rule: allocate, release: any thread (one mutex, control-rate). arm: the thread that
// allocated, before the slot is advertised to the peer. apply, applied: data thread only. count,
// remaining, generation: any thread that holds the slot. release REQUIRES quiet: every apply() that
// the slot's peer could still cause happened before it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/base/limits.h"
#include "src/counter/immediate.h"

namespace baton::counter {

using base::kMaxPathsPerPeer;

// Slots [first, first + count).
struct SlotExtent {
  SlotIndex first;
  uint32_t count = 0;

  friend bool operator==(const SlotExtent&, const SlotExtent&) = default;
};

// The slots of one Grant, in order: the n-th slot of the Grant is the n-th of these.
struct SlotExtents {
  std::vector<SlotExtent> extents;

  uint32_t size() const;
  // REQUIRES: ordinal < size(). Linear in the number of extents.
  SlotIndex at(uint32_t ordinal) const;
};

enum class ApplyOutcome : uint8_t {
  kCounted,        // added; short of the target still
  kTargetReached,  // added; value - base == target now. Said once per arming
  // Protocol errors: nothing was added, the Path is to be fenced.
  kStaleGeneration,  // of an earlier (or never) use of the slot
  kNotOwner,         // the slot counts for another Peer
  kOvershoot,        // would pass the target
  kUnarmed,          // never advertised
};

struct Applied {
  ApplyOutcome outcome = ApplyOutcome::kUnarmed;
  uint8_t generation = 0;
  SlotIndex slot;
  uint32_t weight = 0;

  bool was_counted() const { return outcome <= ApplyOutcome::kTargetReached; }
};

// "stale generation" and so on, for messages.
const char* apply_outcome_name(ApplyOutcome outcome);

class CounterTable {
 public:
  // REQUIRES: num_slots in [1, kMaxSlots]. kExhausted when the address space cannot be mapped.
  static Result<std::unique_ptr<CounterTable>> create(uint32_t num_slots = kMaxSlots);
  ~CounterTable();
  CounterTable(const CounterTable&) = delete;
  CounterTable& operator=(const CounterTable&) = delete;

  // `count` slots, oldest freed first, in as few extents as that order allows (at most `count`); 0
  // gives none. kExhausted, with nothing taken, when fewer are free. Allocates; does not block
  // beyond the mutex.
  Result<SlotExtents> allocate(uint32_t count);
  // Disarms, moves each slot to its next generation, frees. REQUIRES: from allocate(), not released
  // since; quiet.
  void release(const SlotExtents& slots);
  uint32_t num_free() const;

  // Makes the slot count `target_units` units of `owner`. Release, partner of the acquire in
  // apply(). REQUIRES: allocated and not armed, target_units <= 2^32 - 1 (applied[] is 32 bits
  // wide).
  void arm(SlotIndex slot, PeerId owner, uint64_t target_units);
  // To be put into the slot's immediates; constant from allocate() to release().
  uint8_t generation(SlotIndex slot) const;

  // Counts an immediate that arrived from `peer` on its Path `path_ordinal`. The add is a release:
  // partner of the acquire in count() and remaining(). REQUIRES: path_ordinal < kMaxPathsPerPeer;
  // any immediate is allowed.
  Applied apply(uint32_t immediate, PeerId peer, uint32_t path_ordinal);
  // Adds `units` that no Path carried: the writer has placed them again and said so (SETTLE).
  // Outcomes as apply(): kUnarmed, kStaleGeneration, kNotOwner, kOvershoot add nothing. Data thread
  // only.
  ApplyOutcome settle(SlotIndex slot, uint8_t generation, PeerId peer, uint64_t units);
  // applied(), which is 0 from then on: the ordinal's Path is fenced, its next one begins anew.
  // Data thread only.
  uint64_t take_applied(SlotIndex slot, uint32_t path_ordinal);
  // Units counted since arming on one Path (data thread). Over all Paths, live and
  // taken, and the settled ones, they add up to count().
  uint64_t applied(SlotIndex slot, uint32_t path_ordinal) const;
  // Units counted since arming: value - base. Acquire: the bytes of that many units are visible to
  // the caller.
  uint64_t count(SlotIndex slot) const;
  // target - count(). Acquire, as count().
  uint64_t remaining(SlotIndex slot) const;
  uint64_t target(SlotIndex slot) const;

 private:
  // Zero bytes are a valid slot: free, generation 0, so a fresh mapping needs no construction.
  struct Slot {
    std::atomic<uint64_t> value;
    uint64_t base;
    uint64_t target;
    // owner:32 | generation:8 | state:8, one word so that apply() sees them agree.
    std::atomic<uint64_t> identity;
    uint32_t applied[kMaxPathsPerPeer];
  };
  static_assert(sizeof(Slot) == 64);
  static_assert(std::atomic<uint64_t>::is_always_lock_free);

  CounterTable(Slot* slots, uint32_t num_slots);
  Slot& at(SlotIndex slot) const;
  void append_free(SlotExtent extent);

  Slot* const slots_;
  const uint32_t num_slots_;

  mutable std::mutex mutex_;
  std::deque<SlotExtent> free_;  // guarded by mutex_; oldest first
  uint32_t num_free_ = 0;        // guarded by mutex_
};

}  // namespace baton::counter
