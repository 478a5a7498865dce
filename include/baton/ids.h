// Identifiers: each its own type, so that a section id cannot be passed where a grant id is meant.
//
// Thread rule: values. 0 is "none" for every id that Baton gives out, unless said otherwise.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace baton {

template <typename Tag, typename Value>
struct Id {
  Value value = 0;

  constexpr Id() = default;
  constexpr explicit Id(Value v) : value(v) {}
  constexpr explicit operator bool() const { return value != 0; }
  friend constexpr auto operator<=>(const Id&, const Id&) = default;
};

// Given by the Context that registered the section; unique among the sections of that Context's
// life, never reused.
using SectionId = Id<struct SectionTag, uint32_t>;
// A published KV cache (a Layout bound to sections) of one Context.
using CacheId = Id<struct CacheTag, uint32_t>;
// One connection to one peer, local to this Context; a peer that comes back has a new one.
using PeerId = Id<struct PeerTag, uint32_t>;
// Given by the receiver; 64 bits, never reused.
using GrantId = Id<struct GrantTag, uint64_t>;
// Several Grants that stand for one hand-off (GrantGroup); local to this Context, never reused.
using GrantGroupId = Id<struct GrantGroupTag, uint64_t>;
// Local to this Context, never reused.
using TransferId = Id<struct TransferTag, uint64_t>;
// A rail of one Context (index into its table; 0 is a valid rail).
using RailIndex = Id<struct RailTag, uint16_t>;
// Epochs of Paths never repeat within one pair of Contexts.
using PathEpoch = Id<struct EpochTag, uint64_t>;

// 128 random bits made when a Context opens: tells a restarted process from the old one.
using BootId = std::array<uint8_t, 16>;

}  // namespace baton

template <typename Tag, typename Value>
struct std::hash<baton::Id<Tag, Value>> {
  size_t operator()(const baton::Id<Tag, Value>& id) const noexcept {
    return std::hash<Value>()(id.value);
  }
};
