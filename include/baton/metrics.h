// Metrics: what a Context has counted since it was created, as a struct and as Prometheus text
// (docs/operations.md lists every series).
//
// Invariants:
//  1. Counters never fall, over all reconnections of a peer: they belong to its name.
//  2. The number of series is bounded. Peers that are connected have their own; of those that are
//     gone, the last kGonePeersKept do, too; what older ones counted is in the entry kFoldedPeers,
//     so that sums over all peers never fall.
//  3. Reading takes no part of the data path's time but a short lock that opening and ending a
//     request take; a reading is not one moment: counters go on while they are read.
//
// Thread rule: values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "baton/export.h"
#include "baton/ids.h"
#include "baton/status.h"

namespace baton {

inline constexpr size_t kNumStatusCodes = static_cast<size_t>(StatusCode::kInternal) + 1;
inline constexpr size_t kGonePeersKept = 64;
// No Context can have this name.
inline constexpr std::string_view kFoldedPeers = "(gone)";

// Durations in buckets whose upper bounds double, from 8.192 us to 68.7 s.
struct DurationHistogram {
  static constexpr size_t kBuckets = 24;
  static constexpr int64_t upper_bound_ns(size_t bucket) { return int64_t{1} << (13 + bucket); }

  std::array<uint64_t, kBuckets + 1> counts{};  // in each bucket; the last: longer than all bounds
  uint64_t sum_ns = 0;

  uint64_t total() const {
    uint64_t sum = 0;
    for (const uint64_t count : counts) sum += count;
    return sum;
  }
};

// Why a Path was fenced.
enum class FenceCause : uint8_t {
  kPeerLost,       // the peer went down, or was disconnected
  kPathBroken,     // the transport lost it
  kPeerAsked,      // the peer fenced its end
  kNotQuiet,       // the receiver: a cancelled Grant was not quiet after 500 ms, or cannot be
  kNoVerdict,      // the writer: no verdict 1.5 s after a cancel
  kProtocolError,  // an immediate, or something else, that breaks the protocol
  kClosing,        // the local Context closes
};
inline constexpr size_t kNumFenceCauses = 7;
BATON_EXPORT std::string_view fence_cause_name(FenceCause cause);  // "path_broken"

// Grants are counted where they are made; what answers them is a Transfer there.
enum class RequestKind : uint8_t {
  kKvGrant,
  kRangeGrant,
  kPush,
  kWrite,
  kRead,
  kReadGrant,  // a source's, of a pulled hand-off
  kPull,       // the reader's
};
inline constexpr size_t kNumRequestKinds = 7;
BATON_EXPORT std::string_view request_kind_name(RequestKind kind);  // "kv_grant"

// Calls that a bound refused with BUSY.
enum class BusyCall : uint8_t {
  kGrant,
  kPush,
  kWrite,
  kRead,
  kSubmitChunk,
  kSeal,
  kSendMessage,
  kPull
};
inline constexpr size_t kNumBusyCalls = 8;
BATON_EXPORT std::string_view busy_call_name(BusyCall call);  // "submit_chunk"

struct RequestMetrics {
  uint64_t started = 0;
  std::array<uint64_t, kNumStatusCodes> ended{};  // by StatusCode
};

// One place among the Paths of a peer; Paths that follow each other there count on.
struct PathMetrics {
  uint32_t path = 0;  // the place
  RailIndex rail;     // local, of the last Path there
  std::string transport;
  bool is_open = false;
  uint64_t opened = 0;    // Paths that became usable
  uint64_t reopened = 0;  // of them, after one that died
  uint64_t lost = 0;      // Paths that were open and are fenced
  std::array<uint64_t, kNumFenceCauses> fences{};
  // This side writes (or reads) the peer's memory.
  uint64_t posted_bytes = 0;
  uint64_t posted_units = 0;
  uint64_t posts = 0;
  uint64_t immediates = 0;
  // The peer writes this side's memory.
  uint64_t placed_units = 0;     // counted, CANCELLING included
  uint64_t late_units = 0;       // of them, while their Grant was CANCELLING: towards quiet only
  uint64_t dropped_units = 0;    // reported of a frozen Path: not counted
  uint64_t discarded_bytes = 0;  // arrived for a Grant that had ended, or on a frozen Path
};

// One remote Context, by its name.
struct PeerMetrics {
  std::string name;
  bool is_up = false;
  std::array<RequestMetrics, kNumRequestKinds> requests{};
  std::vector<PathMetrics> paths;  // places that were used
  uint64_t placed_bytes = 0;       // of layers whose units are all placed

  // Memory of Grants in CANCELLING: not to be used again before it is quiet.
  uint64_t quarantined_grants = 0;  // now
  uint64_t quarantined_blocks = 0;
  uint64_t quarantined_bytes = 0;
  uint64_t quarantined_grants_total = 0;  // that ever were
  uint64_t quarantined_blocks_total = 0;
  uint64_t quarantined_bytes_total = 0;
  DurationHistogram quarantine;  // from CANCELLING to the end

  uint64_t settles_sent = 0;  // SETTLE messages for units of Paths that died
  uint64_t settles_applied = 0;
  uint64_t settled_units_sent = 0;
  uint64_t settled_units_applied = 0;
  uint64_t rewritten_bytes = 0;

  std::array<uint64_t, kNumStatusCodes> losses{};  // connections ended, by StatusCode
  DurationHistogram detection;  // silence of a peer until it was found dead: what noticing took
  DurationHistogram fence;      // from the fence's begin to "not another byte"
  DurationHistogram heartbeat_rtt;
  DurationHistogram grant_time;  // from grant() to the end, of Grants that ended DONE
};

struct Metrics {
  std::string context;  // its name
  std::string version;  // of the library
  double uptime_seconds = 0;
  // Since the data path's last turn; it turns at least once a second while it is driven. Negative:
  // it has not turned yet.
  double data_turn_age_seconds = -1;
  uint64_t live_grants = 0;
  uint64_t live_transfers = 0;
  uint64_t offers = 0;  // of peers, that stand
  uint64_t free_counter_slots = 0;
  std::array<uint64_t, kNumBusyCalls> busy{};
  uint64_t events_lost = 0;
  uint64_t log_messages_dropped = 0;
  uint64_t http_requests = 0;  // answered with 200
  uint64_t http_refused = 0;   // answered with another status, or not at all
  std::vector<PeerMetrics> peers;
};

// Prometheus text format 0.0.4: every family with HELP and TYPE, samples or not.
BATON_EXPORT std::string prometheus_text(const Metrics& metrics);

}  // namespace baton
