// Event: what Context::poll_events delivers. Exactly one kTransferEnded per Transfer, one
// kGrantEnded per Grant, and one kGrantGroupEnded per GrantGroup, after those of all its Grants.
//
// Nobody has to poll. What waits is bounded by ContextOptions::max_events: of ends of requests, and
// of kPeerUp and kPeerDown, as many wait, each; one more takes the place of the oldest of its sort,
// and kEventsLost tells of it. One more kMessage drops the peer that sent it. A kGrantOffered goes,
// unpolled, when its Grant ends or the peer goes down.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/status.h"

namespace baton {

enum class EventKind : uint8_t {
  kPeerUp,        // peer
  kPeerDown,      // peer, status: why. What was under way with it ends on its own
  kGrantOffered,  // peer, grant, tag: see GrantOffer
  // Also of ReadGrants: peer, grant, group, tag, status: OK when DONE. Its pages are quiet
  kGrantEnded,
  // Also of Pulls: peer, grant, transfer, status: OK when DONE. Its memory is quiet
  kTransferEnded,
  kMessage,          // peer, tag_number, message
  kEventsLost,       // tag_number: how many. Delivered before those that are left
  kGrantGroupEnded,  // group, tag, status: OK when DONE. The pages of all its Grants are quiet
};

struct Event {
  EventKind kind = EventKind::kPeerUp;
  PeerId peer;
  GrantId grant;
  TransferId transfer;
  Status status;
  std::string tag;
  uint64_t tag_number = 0;
  std::vector<uint8_t> message;
  GrantGroupId group;  // 0: the Grant belongs to none
};

// A Grant that a peer offers to this process.
struct GrantOffer {
  GrantId id;
  PeerId peer;
  std::string tag;
  bool is_ranges = false;
  bool is_read = false;  // a ReadGrant: answered by pull()
  // KV grants; of a ReadGrant the source is the peer's, and the target this Context's
  CacheId target_cache;  // the peer's
  CacheId source_cache;  // this Context's, as the peer named it
  TokenRange tokens;
  // Which heads are to be sent, one range per layer group; empty: all that both caches hold.
  std::vector<HeadRange> heads;
  uint64_t units = 0;
  uint32_t num_layers = 0;
  // Range grants
  struct Range {
    SectionId section;  // the peer's
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
  };
  std::vector<Range> ranges;
  bool allow_write = false;
  bool allow_read = false;
};

}  // namespace baton
