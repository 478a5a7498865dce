// PullState: the reader's side of a pulled hand-off, shared by the caller's handle, the control
// thread and the data thread. It has the slots, Gates and end of a Grant: it is the side that
// receives, and decides. What differs: its slots count tokens that are final at the source, and its
// bytes come by reads of its own.
//
// Invariants:
//  1. A unit is read when all its tokens are final at the source. Each layer is the owner of its
//     reads, so that reads of two layers are never merged.
//  2. A layer is whole when all its tokens are final, all its bytes were accepted by plug-ins, and
//     every op of them is done. Then, and only then, its Gate opens.
//  3. Local memory is quiet when no op is out and nothing is staged.
//
// Thread rule: per group of members, as commented.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "src/base/limits.h"
#include "src/handoff/grant_state.h"
#include "src/handoff/transfer_state.h"
#include "src/kv/plan.h"
#include "src/transfer/path_channel.h"

namespace baton::handoff {

class PullState : public GrantState {
 public:
  // The reads of one layer. Its slot, Gate and times are those of GrantState::Layer.
  class Reads : public transfer::PostOwner {
   public:
    void on_accepted(uint32_t path, uint64_t length_bytes) override;
    void on_refused(uint32_t path, uint64_t length_bytes) override;
    void on_signalled(uint32_t, uint32_t, uint32_t) override {}  // reads carry no immediate
    void on_op_done(uint32_t path, bool is_flush, baton_op_status status) override;

    // Units wait to be staged.
    bool has_ready() const { return cursor_open || asked_tokens < final_tokens; }
    uint32_t num_tokens() const { return tokens.end - tokens.begin; }

    // ---- constant
    PullState* owner = nullptr;
    uint32_t ordinal = 0;
    TokenRange tokens;   // of the layer's group: those that are counted
    uint64_t bytes = 0;  // of the plan

    // ---- data thread
    uint32_t final_tokens = 0;  // the count of its slot
    uint32_t asked_tokens = 0;  // of them, whose units were staged, or are in the cursor
    bool cursor_open = false;
    kv::UnitCursor cursor;
    uint64_t accepted_bytes = 0;
    uint32_t ops_out = 0;
    uint32_t used_paths = 0;  // staged on them, since it began (again)
    bool is_lost = false;     // a Path took some of it with it: all of the layer is read again
    bool is_missing = false;  // lost once, and not whole since
    bool is_whole = false;
  };
  // The Path that the next units take, and how much of its turn is left.
  struct Stripe {
    uint32_t path = 0;
    uint64_t bytes_left = 0;
  };

  PullState() { pull = this; }

  // ---- data thread
  uint32_t ops_on(uint32_t path) const { return ops_on_[path]; }
  uint32_t ops_out() const;
  // The slot of `ordinal` counted `count` more tokens.
  void tokens_counted(uint32_t ordinal, uint32_t count);
  // Is the layer whole? Then the engine opens its Gate, from `whole`.
  void look_at(Reads& layer);
  // The local end of `path` is fenced, which was seen to break at `broken_ns`: what it carried of
  // layers that are not whole may be missing.
  void path_fenced(uint32_t path, int64_t broken_ns);
  // A layer that look_at() found whole: the time for which it was missing ends.
  void no_longer_missing(Reads& layer, int64_t now_ns);
  // Of a lost layer, when no op of it is out, nothing is staged and no Path is being fenced: its
  // memory is read into anew.
  void begin_again(Reads& layer);

  // ---- constant
  TransferId transfer;  // as callers of this Context name it
  std::unique_ptr<kv::Plan> plan;
  std::vector<TransferState::LocalSection> local;
  std::vector<TransferState::RemoteSection> remote;
  std::unique_ptr<Reads[]> reads;  // per layer

  // ---- data thread
  bool started = false;  // the lease is held
  // Layers before it have nothing to stage; num_layers: none has. While CANCELLING it is not looked
  // at.
  uint32_t first_ready = 0;
  bool has_lost = false;  // a layer may be lost
  uint32_t missing = 0;   // layers that are
  int64_t missing_since_ns = 0;
  bool is_refused = false;  // the source refused a read: its Cancel says why, if it comes
  int64_t refused_seen_ns = 0;
  Stripe stripe;
  bool unit_pending = false;
  kv::Unit unit;
  uint32_t next_piece = 0;      // of the pending unit, among its sources
  uint32_t piece_offset = 0;    // within the unit
  std::vector<uint32_t> whole;  // layers whose Gates are to be opened; has room for all

 private:
  std::array<uint32_t, base::kMaxPathsPerPeer> ops_on_{};
};

}  // namespace baton::handoff
