// FailureLine: the one line that each side logs for each request that failed, and for each Path
// that was fenced. Keys come in one order and message comes last, so that a log is searched by
// "grant=..." or "peer=... name=..." on both sides:
//
//   grant failed: code=PATH_LOST grant=12 tag="req-1" peer=3 name="prefill-0" units=237/720
//   fenced=0,2 after_ms=612: path 2 (tcp, epoch 9) to peer 3 was lost: ...
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "baton/ids.h"
#include "baton/metrics.h"
#include "baton/status.h"

namespace baton::handoff {

struct FailedRequest {
  Status why;
  GrantId grant;
  TransferId transfer;  // none: it is the Grant, on the receiver's side
  std::string_view tag;
  PeerId peer;
  std::string_view peer_name;
  uint64_t units = 0;  // counted, or signalled
  uint64_t total_units = 0;
  uint32_t fenced_paths = 0;  // by bit: fenced while it lived
  int64_t after_ns = 0;       // from the begin of its end to its end
};

struct FencedPath {
  FenceCause cause = FenceCause::kPathBroken;
  uint32_t path = 0;
  std::string_view transport;
  PathEpoch epoch;
  PeerId peer;
  std::string_view peer_name;
  size_t grants = 0;  // that live, on this side
  size_t transfers = 0;
  Status why;
};

std::string failure_line(const FailedRequest& request);
std::string fence_line(const FencedPath& path);

}  // namespace baton::handoff
