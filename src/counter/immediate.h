// Immediate: the 32 bits that arrive with a write and say which slot counts how many units.
//
//     bit 31 ............. 14 | 13 ........ 8 | 7 ......... 0
//     slot (18)               | generation (6)| weight - 1 (8)
//
// Every value of the 32 bits unpacks to something; whether it means anything is for
// CounterTable::apply to say.
//
// Thread rule: pure functions on values.
#pragma once

#include <cstdint>

#include "baton/ids.h"

namespace baton::counter {

// Index of a slot of the receiver's CounterTable; 0 is a valid slot.
using SlotIndex = Id<struct SlotTag, uint32_t>;

inline constexpr uint32_t kSlotBits = 18;
inline constexpr uint32_t kGenerationBits = 6;
inline constexpr uint32_t kWeightBits = 8;
static_assert(kSlotBits + kGenerationBits + kWeightBits == 32);

inline constexpr uint32_t kMaxSlots = 1u << kSlotBits;
inline constexpr uint32_t kNumGenerations = 1u << kGenerationBits;
// Units that one immediate can stand for: [1, kMaxWeight].
inline constexpr uint32_t kMaxWeight = 1u << kWeightBits;

struct Immediate {
  SlotIndex slot;
  uint8_t generation = 0;
  uint32_t weight = 1;

  friend constexpr bool operator==(const Immediate&, const Immediate&) = default;
};

// REQUIRES: slot < kMaxSlots, generation < kNumGenerations, weight in [1, kMaxWeight]. Not checked
// here (data path); a value outside would spill into its neighbour.
constexpr uint32_t pack(const Immediate& immediate) {
  return immediate.slot.value << (kGenerationBits + kWeightBits) |
         uint32_t{immediate.generation} << kWeightBits | (immediate.weight - 1);
}

constexpr Immediate unpack(uint32_t bits) {
  Immediate immediate;
  immediate.slot = SlotIndex(bits >> (kGenerationBits + kWeightBits));
  immediate.generation = static_cast<uint8_t>((bits >> kWeightBits) & (kNumGenerations - 1));
  immediate.weight = (bits & (kMaxWeight - 1)) + 1;
  return immediate;
}

static_assert(pack(Immediate{}) == 0);
static_assert(pack({SlotIndex(kMaxSlots - 1), kNumGenerations - 1, kMaxWeight}) == 0xffffffffu);
static_assert(pack({SlotIndex(1), 2, 3}) == ((1u << 14) | (2u << 8) | 2u));
static_assert(unpack(0xffffffffu) ==
              Immediate{SlotIndex(kMaxSlots - 1), kNumGenerations - 1, kMaxWeight});

}  // namespace baton::counter
