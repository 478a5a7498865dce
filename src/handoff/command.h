// Command: what callers and the control thread ask of the data thread. One submission, one entry.
//
// Thread rule: values that travel through a bounded queue.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <variant>
#include <vector>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/base/meters.h"
#include "src/base/unique_fd.h"
#include "src/handoff/grant_state.h"
#include "src/handoff/inbox.h"
#include "src/handoff/transfer_state.h"
#include "src/wire/messages.h"

namespace baton::handoff {

// ---- from callers
struct OpenGrant {
  std::shared_ptr<GrantState> grant;
};
// All of one group: they are opened together, or the queue takes none.
struct OpenGrants {
  std::vector<std::shared_ptr<GrantState>> grants;
};
struct OpenTransfer {
  std::shared_ptr<TransferState> transfer;
};
struct AddChunk {
  std::shared_ptr<TransferState> transfer;
  Chunk chunk;
};
struct SealTransfer {
  std::shared_ptr<TransferState> transfer;
};
// Runs on the data thread between turns (registration of memory, which rails want from their own
// thread).
struct RunTask {
  std::function<void()> task;
};

// ---- the reserved lane: begin_cancel() has been won already
struct CancelGrant {
  std::shared_ptr<GrantState> grant;
};
struct CancelTransfer {
  std::shared_ptr<TransferState> transfer;
};

// ---- from the control thread, in the order of events
struct PeerUp {
  PeerId peer;
  uint32_t unit_bytes = 0;
  std::shared_ptr<base::PeerMeters> meters = nullptr;  // null: some of the engine's own
};
struct PeerDown {
  PeerId peer;
  Status why;
};
// One of the peer's Paths, as both sides agreed on it.
struct PathPlan {
  PathEpoch epoch;
  uint32_t ordinal = 0;
  RailIndex rail;        // ours
  RailIndex peer_rail;   // theirs
  uint32_t credits = 0;  // immediates that the peer's rail takes unprocessed; 0: no limit
};
// A Path on a rail that wants a stream was asked for, or agreed to: from now on the peer may have
// its end, and this one comes with OpenStreamPath, or AbandonPath.
struct ExpectPath {
  PeerId peer;
  PathPlan plan;
  // Of the side that agrees: leaves from here, behind every GRANT_END that came before it.
  std::unique_ptr<wire::PathReply> reply = nullptr;
};
// Opens the Path that is expected.
struct OpenStreamPath {
  PeerId peer;
  PathPlan plan;
  base::UniqueFd stream;
};
// Opens it on a rail that exchanges addresses: as the one who asks (empty peer_address: our address
// is sent in a PathRequest), or who is asked (it is sent in a PathReply).
struct OpenAddressedPath {
  PeerId peer;
  PathPlan plan;
  bool asked = false;
  std::vector<uint8_t> peer_address;
};
// The asker's second half.
struct ConnectPath {
  PeerId peer;
  PathEpoch epoch;  // of the plan that it was opened with
  std::vector<uint8_t> peer_address;
};
// The Path that was asked for will not come.
struct AbandonPath {
  PeerId peer;
  PathEpoch epoch;
  // Why its stream did not, though both had agreed on it; OK: the peer refused, and has no end.
  Status failed_stream = {};
};
struct PeerMessage {
  PeerId peer;
  std::unique_ptr<wire::Message> message;  // on the heap: it would make every entry large
  Inbox::Room room{};                      // the message's, until it is executed
};

using Command =
    std::variant<std::monostate, OpenGrant, OpenTransfer, AddChunk, SealTransfer, RunTask,
                 CancelGrant, CancelTransfer, PeerUp, PeerDown, ExpectPath, OpenStreamPath,
                 OpenAddressedPath, ConnectPath, AbandonPath, PeerMessage, OpenGrants>;

}  // namespace baton::handoff
