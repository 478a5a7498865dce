// PathChannel: the sending and counting side of one Path. Units and raw runs go in, merged posts
// and immediates come out.
//
// Invariants (1 to 3 keep promise 2, docs/promises.md, "Counting is exact"):
//  1. At most one batch is open, of one slot. It closes on slot change, at 256 units, when
//     close_batch() is called (nothing more is ready), and on cancel. The post that closes it
//     carries the immediate with the batch's number of units.
//  2. The last staged post of an open batch is never handed to the plug-in before the batch closes,
//     so there is always a post to carry the immediate.
//  3. Units are merged only with the one staged just before, when both target and source adjoin or
//     fit in one gather, and only on a path whose immediates cover prior writes. Otherwise each
//     unit is a post with an immediate of its own.
//  4. At most kMaxOps posts and kWindowBytes bytes are with the plug-in, so that a cancel is never
//     far behind.
//  5. What was staged and not accepted was never visible to the plug-in: dropping it on cancel
//     needs no fence.
//  6. With credits an immediate uses one, which is reserved when its batch opens; without one no
//     batch opens. Dropped batches give theirs back.
//
// Thread rule: data thread only. Allocates in create() only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "baton/ids.h"
#include "baton/plugin/plugin.h"
#include "baton/status.h"
#include "src/base/limits.h"
#include "src/base/meters.h"
#include "src/counter/immediate.h"
#include "src/transport/rail.h"

namespace baton::transfer {

// Whose post it was. `path`: the ordinal of the Path that reports.
class PostOwner {
 public:
  virtual ~PostOwner() = default;
  // One more post (or flush: 0 bytes) of this owner goes to the plug-in. One on_op_done follows,
  // or, when the plug-in does not take it now, on_refused at once.
  virtual void on_accepted(uint32_t path, uint64_t bytes) = 0;
  virtual void on_refused(uint32_t path, uint64_t bytes) = 0;
  // An immediate that stands for `units` units of slot `ordinal` was accepted.
  virtual void on_signalled(uint32_t path, uint32_t ordinal, uint32_t units) = 0;
  virtual void on_op_done(uint32_t path, bool is_flush, baton_op_status status) = 0;
};

// Where a counted unit is counted.
struct SlotRef {
  counter::SlotIndex slot;
  uint8_t generation = 0;
  uint32_t ordinal = 0;  // of the slot within its Grant

  friend bool operator==(const SlotRef&, const SlotRef&) = default;
};

// One contiguous target range and the local memory it comes from (or, of a read, goes to).
struct Piece {
  const baton_source* sources = nullptr;
  uint32_t num_sources = 0;
  uint32_t length_bytes = 0;
  uint64_t target_key = 0;
  uint64_t target_address = 0;
};

// The request that a piece belongs to. `owner` lives until none of its ops is out and nothing of it
// is staged.
struct PieceOwner {
  PostOwner* owner = nullptr;
  uint64_t grant = 0;
};

enum class PathState : uint8_t { kOpening, kOpen, kBroken, kFencing, kFenced };

class PathChannel {
 public:
  struct Identity {
    PeerId peer;
    PathEpoch epoch;
    uint64_t cookie = 0;
    uint32_t ordinal = 0;  // among the Paths of this peer
    uint32_t credits = 0;  // immediates that the peer takes before it returns any; 0: no limit
    base::PathMeters* meters = nullptr;  // outlives the channel; null: nobody counts
  };

  // `rail` outlives the channel, which owns `path` and closes it.
  PathChannel(const Identity& identity, transport::Rail* rail, baton_path* path,
              uint32_t max_post_bytes);
  ~PathChannel();
  PathChannel(const PathChannel&) = delete;
  PathChannel& operator=(const PathChannel&) = delete;

  const Identity& identity() const { return identity_; }
  transport::Rail& rail() const { return *rail_; }
  PathState state() const { return state_; }
  void set_state(PathState state) { state_ = state; }
  std::string describe() const;  // "path 0 (tcp, epoch 7) to peer 3"

  // Each takes the piece, or returns false: staging is full, push() first; or, of a unit, a credit
  // is missing, and open batches of others may hold some: they are closed then. REQUIRES: state()
  // == kOpen.
  [[nodiscard]] bool stage_unit(const Piece& piece, const PieceOwner& owner, const SlotRef& slot);
  // An immediate alone, which says that `units` more are counted. As stage_unit. REQUIRES: `units`
  // is in [1, kMaxWeight].
  [[nodiscard]] bool stage_signal(const PieceOwner& owner, const SlotRef& slot, uint32_t units);
  [[nodiscard]] bool stage_raw(baton_post_kind kind, const Piece& piece, const PieceOwner& owner);

  // Closes the open batch: its last staged post carries the immediate.
  void close_batch();
  // Hands staged posts to the plug-in, in order, except the last of an open batch. Returns how many
  // it took; sets kBroken when the plug-in says so.
  uint32_t push();
  bool has_staged() const { return head_ != tail_; }
  bool has_staged(const PostOwner* owner) const;
  // Something staged could go to the plug-in now, if it has room.
  bool can_push() const { return tail_ - head_ > (batch_open_ ? 1u : 0u); }

  // Bytes staged and with the plug-in: how busy the Path is.
  uint64_t load_bytes() const { return bytes_out_ + staged_bytes_; }

  // The peer has taken `returned` immediates since the Path opened. False: more than were sent, or
  // fewer than before: it broke the protocol.
  [[nodiscard]] bool return_credits(uint64_t returned);
  // Without limit, or one is left.
  bool has_credit() const { return identity_.credits == 0 || credits_used_ < credits_granted_; }

  // Drops the staged pieces of `owner`, after it stopped. If some of its open batch is already with
  // the plug-in, the first remaining post is kept to close it.
  void drop(const PostOwner* owner);

  // Posts a flush of everything accepted so far. kBusy: no room now.
  Status flush(PostOwner* owner);
  // Starts the fence and drops what is staged; the plug-in reports its end. Idempotent.
  void fence();

  // The plug-in's report, passed on to the owner.
  void op_done(uint64_t op, baton_op_status status);

 private:
  static constexpr uint32_t kStaged = 128;  // posts; a power of two
  static constexpr uint32_t kMaxSources = base::kMaxUnitSources;
  static constexpr uint32_t kMaxOps = 1024;
  // What a path may hold unfinished: enough to keep a link busy between two turns, little enough to
  // be drained well before the 500 ms that a cancel waits for quiet.
  static constexpr uint64_t kWindowBytes = 8u << 20;

  struct Op {
    PostOwner* owner = nullptr;
    uint32_t bytes = 0;
    bool is_flush = false;
  };

  struct Staged {
    baton_post post;
    PostOwner* owner;
    uint32_t units;         // in this post
    uint32_t ordinal;       // slot ordinal of its immediate
    uint32_t signal_units;  // units its immediate stands for; 0: none
    uint64_t batch;         // 0: a raw post
    baton_source sources[kMaxSources];
  };

  Staged& at(uint32_t index) { return staged_[index & (kStaged - 1)]; }
  Staged& append(baton_post_kind kind, const Piece& piece, const PieceOwner& owner);
  bool merge(const Piece& piece, const PieceOwner& owner, uint32_t units);
  void set_immediate(Staged& staged);
  void account(const Staged& staged);
  bool open_batch(const PieceOwner& owner, const SlotRef& slot);
  uint64_t take_op(PostOwner* owner, uint32_t bytes, bool is_flush);
  void return_op(uint64_t op);

  const Identity identity_;
  transport::Rail* const rail_;
  baton_path* const path_;
  const uint32_t max_post_bytes_;
  const uint32_t max_sources_;
  const bool covers_prior_;
  PathState state_ = PathState::kOpen;

  std::unique_ptr<Staged[]> staged_;
  std::unique_ptr<baton_post[]> posts_;  // contiguous, for one call
  uint32_t head_ = 0;
  uint32_t tail_ = 0;

  std::unique_ptr<Op[]> ops_;
  std::unique_ptr<uint32_t[]> free_ops_;  // a stack of num_free_
  uint32_t num_free_ = kMaxOps;
  uint64_t bytes_out_ = 0;
  uint64_t staged_bytes_ = 0;

  // Since the Path opened.
  uint64_t credits_used_ = 0;
  uint64_t credits_granted_;

  bool batch_open_ = false;
  PostOwner* batch_owner_ = nullptr;
  SlotRef batch_slot_;
  uint64_t batch_ = 0;           // number of the batch opened last
  uint32_t batch_units_ = 0;     // staged or accepted since it opened
  uint32_t batch_accepted_ = 0;  // of them, with the plug-in already
};

}  // namespace baton::transfer
