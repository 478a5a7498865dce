// Meters: where a Context counts, by Context, peer name and Path. baton/metrics.h says what each
// count means; here they are written.
//
// Ownership: a peer's meters are shared by its entry, its Link, its Paths and its requests, and by
// the table that reads them.
//
// Thread rule: counts from any thread (metrics.h). What is said of a Path's present, data thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "baton/metrics.h"
#include "src/base/limits.h"
#include "src/base/metrics.h"

namespace baton::base {

// As handoff's PathState; kept here for those who only look.
enum class PathPhase : uint8_t { kNone, kOpen, kBroken, kFencing };

struct PathMeters {
  Count opened;
  Count reopened;
  Count lost;
  std::array<Count, kNumFenceCauses> fences;
  Count posted_bytes;
  Count posted_units;
  Count posts;
  Count immediates;
  Count placed_units;
  Count late_units;
  Count dropped_units;
  Count discarded_bytes;

  // ---- the present Path; written by the data thread
  std::atomic<PathPhase> phase{PathPhase::kNone};
  std::atomic<int64_t> phase_since_ns{0};
  std::atomic<uint64_t> epoch{0};
  std::atomic<uint32_t> rail{0};
  // Of the plug-in's table, which outlives the Context; null: the place was never used.
  std::atomic<const char*> transport{nullptr};

  void place(const char* transport_name, uint32_t rail_index, uint64_t path_epoch) {
    rail.store(rail_index, std::memory_order_relaxed);
    epoch.store(path_epoch, std::memory_order_relaxed);
    transport.store(transport_name, std::memory_order_relaxed);
  }
  void set_phase(PathPhase to, int64_t now_ns) {
    if (phase.load(std::memory_order_relaxed) == to) return;
    phase_since_ns.store(now_ns, std::memory_order_relaxed);
    phase.store(to, std::memory_order_relaxed);
  }
};

struct RequestMeters {
  Count started;
  std::array<Count, kNumStatusCodes> ended;

  void end(StatusCode code) { ended[static_cast<size_t>(code)].add(); }
};

struct PeerMeters {
  explicit PeerMeters(std::string peer_name = "") : name(std::move(peer_name)) {}

  const std::string name;
  std::array<RequestMeters, kNumRequestKinds> requests;
  std::array<PathMeters, kMaxPathsPerPeer> paths;
  Count placed_bytes;
  Count quarantined_grants;
  Count quarantined_blocks;
  Count quarantined_bytes;
  Count settles_sent;
  Count settles_applied;
  Count settled_units_sent;
  Count settled_units_applied;
  Count rewritten_bytes;
  std::array<Count, kNumStatusCodes> losses;
  Durations quarantine;
  Durations detection;
  Durations fence;
  Durations heartbeat_rtt;
  Durations grant_time;

  RequestMeters& of(RequestKind kind) { return requests[static_cast<size_t>(kind)]; }
};

struct ContextMeters {
  std::array<Count, kNumBusyCalls> busy;
  Count http_requests;
  Count http_refused;
  std::atomic<int64_t> last_turn_ns{0};  // of the data path; 0: none yet

  void refuse(BusyCall call) { busy[static_cast<size_t>(call)].add(); }
};

}  // namespace baton::base
