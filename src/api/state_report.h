// StateReport: one look at a Context, and how it is written.
//
// Thread rule: values and pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "baton/grant.h"
#include "baton/status.h"
#include "src/base/meters.h"
#include "src/handoff/wait_note.h"

namespace baton::api {

// Requests, peers and offers of one report, each; of more, how many were left out.
inline constexpr size_t kMaxReported = 1024;

struct PathReport {
  uint32_t path = 0;
  uint32_t rail = 0;
  std::string transport;
  uint64_t epoch = 0;
  base::PathPhase phase = base::PathPhase::kNone;
  int64_t since_ns = 0;
};

struct PeerReport {
  uint32_t id = 0;
  std::string name;
  std::string address;
  std::string phase;      // "dialling", "opening a path", "ready", "failed"
  int64_t echo_ns = 0;    // when the last heartbeat that it echoed was sent; 0: none
  bool is_known = false;  // past its hello
  std::vector<PathReport> paths;
};

struct RequestReport {
  bool is_grant = false;
  uint64_t id = 0;  // of the Transfer; 0 for a Grant
  uint64_t grant = 0;
  RequestKind kind = RequestKind::kKvGrant;
  std::string tag;
  uint32_t peer = 0;
  std::string peer_name;
  State state = State::kActive;
  Status status;             // while CANCELLING: why
  int64_t started_ns = 0;    // granted, or submitted
  int64_t cancelled_ns = 0;  // 0: not CANCELLING
  int64_t deadline_ns = 0;
  int64_t lease_end_ns = INT64_MAX;
  handoff::WaitSeen wait;
  uint64_t units = 0;  // counted here, or signalled; of total_units
  uint64_t total_units = 0;
  uint64_t bytes = 0;  // of the Grant; of a Transfer: posted
  uint64_t blocks = 0;
  uint32_t layers = 0;
  uint32_t layers_done = 0;
  // The first that is not done, if layers_done < layers.
  uint32_t next_layer = 0;
  uint64_t next_layer_units = 0;
  uint64_t next_layer_total = 0;
};

// A peer as requests with it are told.
struct PeerSeen {
  std::string name;
  int64_t lease_basis_ns = 0;
};
using PeersSeen = std::map<PeerId, PeerSeen>;

struct OfferReport {
  uint64_t grant = 0;
  std::string tag;
  uint32_t peer = 0;
  std::string peer_name;
  int64_t arrived_ns = 0;
  uint64_t total_units = 0;
};

struct StateReport {
  int64_t now_ns = 0;
  std::string context;
  std::string address;
  std::string version;
  bool caller_drives = false;
  int64_t last_turn_ns = 0;  // 0: none yet
  std::vector<PeerReport> peers;
  std::vector<RequestReport> grants;  // oldest first, as all below
  std::vector<RequestReport> transfers;
  std::vector<OfferReport> offers;  // that no Transfer has answered
  uint64_t peers_left_out = 0;
  uint64_t grants_left_out = 0;
  uint64_t transfers_left_out = 0;
  uint64_t offers_left_out = 0;

  // The data path turns once a second at least while it is driven.
  bool is_data_path_late() const;
};

std::string to_text(const StateReport& report);
std::string to_json(const StateReport& report);

}  // namespace baton::api
