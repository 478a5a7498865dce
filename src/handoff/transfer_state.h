// TransferState: one submitted request of the sending side, shared by the caller's handle, the
// control thread and the data thread. One class for pushed hand-offs and raw writes and reads; what
// differs is in the two sources of pieces below.
//
// Invariants:
//  1. Everything under "constant" is set before the state is shared.
//  2. It becomes terminal only when all_ops_out() is 0: nothing of its memory is in a plug-in's
//     hands.
//
// Thread rule: per group of members, as commented.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "baton/ids.h"
#include "baton/layout.h"
#include "baton/telemetry.h"
#include "baton/transfer.h"
#include "src/base/meters.h"
#include "src/counter/progress_word_state.h"
#include "src/handoff/lifecycle.h"
#include "src/handoff/settlement.h"
#include "src/handoff/wait_note.h"
#include "src/kv/plan.h"
#include "src/section/section_record.h"
#include "src/transfer/path_channel.h"

namespace baton::handoff {

// kReadGrant: a ReadGrantState.
enum class TransferKind : uint8_t { kPush, kWrite, kRead, kReadGrant };

// One submitted part of prefill.
struct Chunk {
  TokenRange tokens;
  std::shared_ptr<counter::ProgressWordState> word;  // nullptr: final already
  uint64_t base = 0;
};

class TransferState : public transfer::PostOwner {
 public:
  static constexpr uint32_t kMaxChunks = 64;  // submitted and not finished; more: BUSY

  // A local section as this transfer's posts name it, on each rail of ours.
  struct LocalSection {
    uint32_t id = 0;
    uint8_t* memory = nullptr;
    uint64_t length_bytes = 0;
    std::vector<baton_region*> regions;  // by rail
  };
  // A section of the peer, as posts name it, on each rail of the peer's.
  struct RemoteSection {
    struct Key {
      RailIndex rail;
      baton_region_key key{};
    };
    uint32_t id = 0;
    std::vector<Key> keys;
    uint64_t length_bytes = 0;

    const baton_region_key* on(RailIndex rail) const;  // nullptr: not registered there
  };
  // The Path that the next units go to, and how much of its turn is left. `used` by Path: something
  // of this Transfer was staged there since it opened.
  struct Stripe {
    uint32_t path = 0;
    uint32_t units_left = 0;
    uint64_t bytes_left = 0;
  };
  struct LayerSent {
    uint64_t units = 0;  // of the plan
    uint64_t bytes = 0;
    std::atomic<uint64_t> signalled{0};
    std::atomic<int64_t> ticked_ns{0};
    std::atomic<int64_t> posted_ns{0};
  };

  void on_accepted(uint32_t path, uint64_t bytes) override;
  void on_refused(uint32_t path, uint64_t bytes) override;
  void on_signalled(uint32_t path, uint32_t ordinal, uint32_t units) override;
  void on_op_done(uint32_t path, bool is_flush, baton_op_status status) override;
  uint64_t all_ops_out() const { return ops_out + settlement.ops_out(); }
  // Of raw Transfers. What it carried will not land any more; if it was used since the last start,
  // all of it goes over the others again. Of a cancelled one nothing goes again, and what it
  // carried unflushed is in doubt.
  void path_died(uint32_t path);
  // Data thread: every section of the peer that it names is registered on this rail of the peer's.
  bool reaches(RailIndex rail) const;
  uint32_t posted_paths() const;

  TransferRecord record() const;
  std::vector<FailedBlock> failed_blocks() const;
  std::string describe() const;
  RequestKind request_kind() const;

  // ---- constant
  TransferId id;
  PeerId peer;
  GrantId grant;
  std::string tag;
  TransferKind kind = TransferKind::kPush;
  int64_t submitted_ns = 0;
  int64_t deadline_ns = 0;
  int64_t lease_ns = 0;
  base::Clock* clock = nullptr;
  std::vector<LocalSection> local;
  std::vector<RemoteSection> remote;
  std::vector<section::SectionUse> uses;  // dropped after the end, as GrantState::give_back()
  // pushed
  std::unique_ptr<kv::Plan> plan;
  TokenRange tokens;
  std::vector<std::vector<uint32_t>> target_blocks;
  uint32_t num_layers = 0;
  std::unique_ptr<LayerSent[]> layers;
  std::vector<transfer::SlotRef> slots;  // per layer
  // raw
  std::vector<Run> runs;
  std::vector<uint8_t> message;
  bool has_message = false;
  std::shared_ptr<base::PeerMeters> meters;  // of its peer; null: nobody counts

  Lifecycle life;
  std::atomic<bool> cancel_queued{false};
  std::atomic<int64_t> cancelled_ns{0};  // when its end began; 0: it did not
  WaitNote wait;

  // ---- the caller's side of chunks, under this lock
  std::mutex submit_mutex;
  uint32_t next_token = 0;
  bool sealed_by_caller = false;
  std::atomic<uint32_t> chunks_queued{0};  // the data thread takes them off when finished

  // ---- data thread
  std::array<Chunk, kMaxChunks> chunks;
  uint32_t chunk_head = 0;
  uint32_t chunk_tail = 0;
  bool sealed = false;
  bool started = false;     // its first piece may go: the lease is held, the path is open
  uint32_t next_layer = 0;  // of the chunk at the head
  uint32_t ticked_layer = 0;
  bool cursor_open = false;
  bool unit_pending = false;
  kv::UnitCursor cursor;
  uint32_t cursor_index = 0;  // of the pending unit, among those of its chunk and layer
  kv::Unit unit;
  Stripe stripe;
  Settlement settlement;  // of pushed ones
  size_t next_run = 0;
  uint64_t run_offset = 0;
  uint64_t ops_out = 0;
  bool all_staged = false;
  // Raw ones, by Path, since they started (over): something was staged there; posts that the
  // plug-in took; a flush was posted behind them; it is done.
  uint32_t used_paths = 0;
  std::array<uint64_t, base::kMaxPathsPerPeer> posted{};
  uint32_t flush_posted = 0;
  uint32_t flushed = 0;
  std::array<uint32_t, base::kMaxPathsPerPeer> flushes_out{};
  std::array<uint32_t, base::kMaxPathsPerPeer> ops_on{};  // of ops_out
  bool writes_in_doubt = false;  // of a cancelled one: a dead Path may have placed some
  bool op_refused = false;
  uint32_t fenced_paths = 0;  // by bit, of its peer, since it was opened
  int64_t cancel_seen_ns = 0;
  bool cancel_from_peer = false;  // the receiver asked: QUIESCED answers it
  bool quiesced_sent = false;
  bool has_verdict = false;
  int64_t verdict_ns = 0;  // when it came
  StatusCode verdict = StatusCode::kOk;
  std::string verdict_message;

  // Telemetry; written by the data thread.
  std::atomic<uint64_t> bytes_posted{0};
  std::atomic<uint64_t> units_signalled{0};
  std::atomic<uint64_t> posts{0};
  std::atomic<uint64_t> immediates{0};
  std::atomic<int64_t> first_post_ns{0};
  std::atomic<int64_t> last_post_ns{0};
};

}  // namespace baton::handoff
