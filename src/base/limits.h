// Bounds that several folders must agree on.
#pragma once

#include <cstdint>

namespace baton::base {

// Paths that one Peer may have at a time; their ordinals are [0, kMaxPathsPerPeer). As many as a
// slot of the CounterTable has room for, which keeps what each of them applied: 64 bytes - value 8
// - base 8 - target 8 - identity 8 = 32 = 8 * 4.
inline constexpr uint32_t kMaxPathsPerPeer = 8;

}  // namespace baton::base
