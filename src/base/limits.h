// Bounds that several folders must agree on.
#pragma once

#include <cstdint>

namespace baton::base {

// Paths that one Peer may have at a time; their ordinals are [0, kMaxPathsPerPeer). As many as a
// slot of the CounterTable has room for, which keeps what each of them applied: 64 bytes - value 8
// - base 8 - target 8 - identity 8 = 32 = 8 * 4.
inline constexpr uint32_t kMaxPathsPerPeer = 8;

// Source pieces of one unit at most, and thus what each transport gathers in one write. The least
// that common systems gather bounds it: transports take a list of source ranges per post, RDMA NICs
// are created with 16 to 32 of these without shrinking their queues. Higher would save units only
// where a unit's rows are scattered (HND to NHD), and there the bytes per row, not the count, set
// the cost.
inline constexpr uint32_t kMaxUnitSources = 16;

}  // namespace baton::base
