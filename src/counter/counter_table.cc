#include "src/counter/counter_table.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "src/base/assert.h"

namespace baton::counter {
namespace {

enum SlotState : uint8_t { kFree = 0, kAllocated = 1, kArmed = 2 };

constexpr uint64_t make_identity(PeerId owner, uint8_t generation, SlotState state) {
  return uint64_t{owner.value} << 32 | uint64_t{generation} << 8 | state;
}
constexpr PeerId owner_of(uint64_t identity) {
  return PeerId(static_cast<uint32_t>(identity >> 32));
}
constexpr uint8_t generation_of(uint64_t identity) { return static_cast<uint8_t>(identity >> 8); }
constexpr SlotState state_of(uint64_t identity) { return static_cast<SlotState>(identity & 0xff); }

}  // namespace

const char* apply_outcome_name(ApplyOutcome outcome) {
  switch (outcome) {
    case ApplyOutcome::kCounted:
      return "counted";
    case ApplyOutcome::kTargetReached:
      return "target reached";
    case ApplyOutcome::kStaleGeneration:
      return "stale generation";
    case ApplyOutcome::kNotOwner:
      return "slot of another peer";
    case ApplyOutcome::kOvershoot:
      return "more units than the target";
    case ApplyOutcome::kUnarmed:
      return "slot not armed";
  }
  return "unknown outcome";
}

uint32_t SlotExtents::size() const {
  uint32_t total = 0;
  for (const SlotExtent& extent : extents) total += extent.count;
  return total;
}

SlotIndex SlotExtents::at(uint32_t ordinal) const {
  for (const SlotExtent& extent : extents) {
    if (ordinal < extent.count) return SlotIndex(extent.first.value + ordinal);
    ordinal -= extent.count;
  }
  BATON_ASSERT(false, "slot ordinal past the end of its extents");
  return SlotIndex();
}

Result<std::unique_ptr<CounterTable>> CounterTable::create(uint32_t num_slots) {
  BATON_ASSERT(num_slots >= 1 && num_slots <= kMaxSlots, "a counter table has 1 to 2^18 slots");
  // NORESERVE: most slots are never used, and their pages never exist.
  void* memory = ::mmap(nullptr, num_slots * sizeof(Slot), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return Status(StatusCode::kExhausted,
                  "mmap of " + std::to_string(num_slots * sizeof(Slot)) +
                      " bytes for the counter table: " + std::strerror(errno));
  }
  return std::unique_ptr<CounterTable>(new CounterTable(static_cast<Slot*>(memory), num_slots));
}

CounterTable::CounterTable(Slot* slots, uint32_t num_slots)
    : slots_(slots), num_slots_(num_slots), num_free_(num_slots) {
  free_.push_back({SlotIndex(0), num_slots});
}

CounterTable::~CounterTable() { (void)::munmap(slots_, num_slots_ * sizeof(Slot)); }

CounterTable::Slot& CounterTable::at(SlotIndex slot) const {
  BATON_ASSERT(slot.value < num_slots_, "slot index past the end of the counter table");
  return slots_[slot.value];
}

Result<SlotExtents> CounterTable::allocate(uint32_t count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (count > num_free_) {
    return Status(StatusCode::kExhausted, "counter slots: " + std::to_string(count) +
                                              " asked for, " + std::to_string(num_free_) + " of " +
                                              std::to_string(num_slots_) + " free");
  }
  SlotExtents taken;
  num_free_ -= count;
  while (count > 0) {
    SlotExtent& oldest = free_.front();
    const SlotExtent part{oldest.first, std::min(count, oldest.count)};
    for (uint32_t i = 0; i < part.count; ++i) {
      std::atomic<uint64_t>& identity = at(SlotIndex(part.first.value + i)).identity;
      // Relaxed: the mutex orders owners among each other, and apply() treats both states alike.
      const uint64_t old = identity.load(std::memory_order_relaxed);
      BATON_ASSERT(state_of(old) == kFree, "a free slot is in use");
      identity.store(make_identity(PeerId(), generation_of(old), kAllocated),
                     std::memory_order_relaxed);
    }
    taken.extents.push_back(part);
    count -= part.count;
    oldest.first.value += part.count;
    oldest.count -= part.count;
    if (oldest.count == 0) free_.pop_front();
  }
  return taken;
}

void CounterTable::release(const SlotExtents& slots) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const SlotExtent& extent : slots.extents) {
    for (uint32_t i = 0; i < extent.count; ++i) {
      std::atomic<uint64_t>& identity = at(SlotIndex(extent.first.value + i)).identity;
      const uint64_t old = identity.load(std::memory_order_relaxed);
      BATON_ASSERT(state_of(old) != kFree, "a counter slot is released twice");
      const auto next = static_cast<uint8_t>((generation_of(old) + 1u) % kNumGenerations);
      // Relaxed: quiet (REQUIRES) has ordered every apply() of the old owner before this; a stray
      // immediate reads the old or the new identity, and is refused or was the peer's to send.
      identity.store(make_identity(PeerId(), next, kFree), std::memory_order_relaxed);
    }
    if (extent.count > 0) append_free(extent);
  }
}

// Keeps the order of freeing; runs that adjoin in it become one extent, so that Grants get few.
void CounterTable::append_free(SlotExtent extent) {
  num_free_ += extent.count;
  if (!free_.empty() && free_.back().first.value + free_.back().count == extent.first.value) {
    free_.back().count += extent.count;
    return;
  }
  free_.push_back(extent);
}

uint32_t CounterTable::num_free() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return num_free_;
}

void CounterTable::arm(SlotIndex slot, PeerId owner, uint64_t target_units) {
  BATON_ASSERT(target_units <= UINT32_MAX, "a slot counts at most 2^32 - 1 units");
  Slot& s = at(slot);
  const uint64_t old = s.identity.load(std::memory_order_relaxed);
  BATON_ASSERT(state_of(old) == kAllocated, "only an allocated, unarmed slot can be armed");
  s.base = s.value.load(std::memory_order_relaxed);
  s.target = target_units;
  for (uint32_t& units : s.applied) units = 0;
  // Release: whoever reads this identity (acquire, in apply()) reads the base and target above.
  s.identity.store(make_identity(owner, generation_of(old), kArmed), std::memory_order_release);
}

uint8_t CounterTable::generation(SlotIndex slot) const {
  return generation_of(at(slot).identity.load(std::memory_order_relaxed));
}

Applied CounterTable::apply(uint32_t immediate, PeerId peer, uint32_t path_ordinal) {
  BATON_ASSERT(path_ordinal < kMaxPathsPerPeer, "path ordinal past the paths of a peer");
  const Immediate arrived = unpack(immediate);
  Applied result;
  result.slot = arrived.slot;
  result.generation = arrived.generation;
  result.weight = arrived.weight;
  if (arrived.slot.value >= num_slots_) return result;

  Slot& s = slots_[arrived.slot.value];
  // Acquire: partner of the release in arm().
  const uint64_t identity = s.identity.load(std::memory_order_acquire);
  if (generation_of(identity) != arrived.generation) {
    result.outcome = ApplyOutcome::kStaleGeneration;
  } else if (state_of(identity) != kArmed) {
    result.outcome = ApplyOutcome::kUnarmed;
  } else if (owner_of(identity) != peer) {
    result.outcome = ApplyOutcome::kNotOwner;
  } else {
    // Relaxed: nobody else adds.
    const uint64_t counted =
        s.value.load(std::memory_order_relaxed) - s.base + uint64_t{arrived.weight};
    if (counted > s.target) {
      result.outcome = ApplyOutcome::kOvershoot;
      return result;
    }
    result.outcome = counted == s.target ? ApplyOutcome::kTargetReached : ApplyOutcome::kCounted;
    s.applied[path_ordinal] += arrived.weight;
    // Release: partner of the acquire in count(); the units' bytes were placed before. The last
    // access to the slot: whoever reads the full count may give the slot back.
    s.value.fetch_add(arrived.weight, std::memory_order_release);
  }
  return result;
}

ApplyOutcome CounterTable::settle(SlotIndex slot, uint8_t generation, PeerId peer, uint64_t units) {
  if (slot.value >= num_slots_) return ApplyOutcome::kUnarmed;
  Slot& s = slots_[slot.value];
  // Acquire: partner of the release in arm().
  const uint64_t identity = s.identity.load(std::memory_order_acquire);
  if (generation_of(identity) != generation) return ApplyOutcome::kStaleGeneration;
  if (state_of(identity) != kArmed) return ApplyOutcome::kUnarmed;
  if (owner_of(identity) != peer) return ApplyOutcome::kNotOwner;
  const uint64_t left = s.target - (s.value.load(std::memory_order_relaxed) - s.base);
  if (units > left) return ApplyOutcome::kOvershoot;
  const ApplyOutcome outcome =
      units == left ? ApplyOutcome::kTargetReached : ApplyOutcome::kCounted;
  // Release: as in apply(); the rewritten bytes were flushed before the writer said so.
  s.value.fetch_add(units, std::memory_order_release);
  return outcome;
}

uint64_t CounterTable::take_applied(SlotIndex slot, uint32_t path_ordinal) {
  BATON_ASSERT(path_ordinal < kMaxPathsPerPeer, "path ordinal past the paths of a peer");
  return std::exchange(at(slot).applied[path_ordinal], 0u);
}

uint64_t CounterTable::applied(SlotIndex slot, uint32_t path_ordinal) const {
  BATON_ASSERT(path_ordinal < kMaxPathsPerPeer, "path ordinal past the paths of a peer");
  return at(slot).applied[path_ordinal];
}

uint64_t CounterTable::count(SlotIndex slot) const {
  const Slot& s = at(slot);
  // Acquire: partner of the release in apply().
  return s.value.load(std::memory_order_acquire) - s.base;
}

uint64_t CounterTable::remaining(SlotIndex slot) const { return target(slot) - count(slot); }

uint64_t CounterTable::target(SlotIndex slot) const { return at(slot).target; }

}  // namespace baton::counter
