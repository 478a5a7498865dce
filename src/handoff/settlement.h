// Settlement: the writer's books of which units of one Transfer went where, and of what dead Paths
// may have lost; and the state of rewriting it (docs/architecture.md, "A Path dies").
//
//   owed(slot) = sum over dead Paths of (assigned - applied) - committed
//
// assigned: units staged for that Path; applied: units that the receiver had counted from it when
// it was fenced (FENCED); committed: units of the SETTLEs sent.
//
// Invariants:
//  1. A unit is staged once. It is written again only after the Path that it was staged for is
//     fenced at both ends, only while its slot owes, and uncounted.
//  2. A slot that owes nothing has lost nothing: its units are forgotten, and never written again.
//  3. SETTLE is sent when every Path that carried a rewrite since the last one is flushed behind
//  it,
//     or fenced at both ends. A Path that dies meanwhile starts the rewriting anew.
//
// Thread rule: the data thread, but for the records (atomics). Allocates in open(), and when the
// journal outgrows its reserve.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "baton/layout.h"
#include "src/base/limits.h"
#include "src/kv/plan.h"
#include "src/transfer/path_channel.h"

namespace baton::handoff {

class Settlement : public transfer::PostOwner {
 public:
  // Units [first, first + count) of those that `chunk` completes in `layer`, in cursor order.
  struct Run {
    TokenRange chunk;
    uint32_t layer = 0;
    uint32_t first = 0;
    uint32_t count = 0;
    uint32_t path = 0;  // ordinal, or kLost
  };
  static constexpr uint32_t kLost = UINT32_MAX;

  void open(uint32_t num_layers);

  // ---- books
  // The next unit of (chunk, layer), the index-th, was staged for this Path.
  void staged(uint32_t path, TokenRange chunk, uint32_t layer, uint32_t index);
  void signalled(uint32_t path, uint32_t layer, uint32_t units);
  uint64_t assigned(uint32_t path, uint32_t layer) const { return assigned_[at(path, layer)]; }
  // Whose immediates the plug-in has accepted, per layer, since the Path opened.
  std::span<const uint32_t> signalled_on(uint32_t path) const {
    return {&signalled_[at(path, 0)], num_layers_};
  }
  bool used(uint32_t path) const { return (used_ >> path & 1) != 0; }
  // Units or rewrites of it may be on their way there.
  bool carried(uint32_t path) const { return ((used_ | wrote_) >> path & 1) != 0; }
  // The Path is fenced at both ends; `applied` by layer. False, with nothing changed: more was
  // applied than was staged for it.
  [[nodiscard]] bool path_died(uint32_t path, std::span<const uint64_t> applied);
  uint64_t owed(uint32_t layer) const { return lost_[layer] - committed_[layer]; }
  uint32_t num_layers() const { return num_layers_; }
  const std::vector<Run>& runs() const { return runs_; }

  // ---- rewriting
  // Some slot owes.
  bool is_due() const { return is_due_; }
  // The unit to be written next; false: all are. The same one until wrote().
  bool next(const kv::Plan& plan, kv::Unit* unit);
  void wrote(uint32_t path, uint64_t bytes);
  // The Paths, by bit, that carry rewrites of which no flush has told yet.
  uint32_t unflushed() const;
  // Of them: those behind whose last rewrite no flush was posted.
  uint32_t wants_flush() const { return wrote_ & ~flush_posted_; }
  void flush_posted(uint32_t path) { flush_posted_ |= 1u << path; }
  // What the SETTLE says now: (layer, units owed). Everything is committed. REQUIRES: next() is at
  // its end, unflushed() == 0.
  std::vector<std::pair<uint32_t, uint64_t>> commit();
  uint64_t next_seq() { return ++seq_; }
  // Stops for good: no rewrite follows.
  void stop() { is_due_ = false; }

  uint64_t ops_out() const { return ops_out_; }

  // ---- PostOwner: of rewrites
  void on_accepted(uint32_t path, uint64_t bytes) override;
  void on_refused(uint32_t path, uint64_t bytes) override;
  void on_signalled(uint32_t, uint32_t, uint32_t) override {}
  void on_op_done(uint32_t path, bool is_flush, baton_op_status status) override;

  // ---- records
  std::atomic<uint64_t> settlements{0};
  std::atomic<uint64_t> units_settled{0};
  std::atomic<uint64_t> bytes_rewritten{0};
  std::atomic<int64_t> ns{0};  // from a Path's death, as noticed, to its SETTLE; summed up
  int64_t began_ns = 0;        // data thread: of the one under way; 0: none

 private:
  size_t at(uint32_t path, uint32_t layer) const { return size_t{path} * num_layers_ + layer; }
  void forget_settled();
  void restart();

  uint32_t num_layers_ = 0;
  std::vector<uint32_t> assigned_;   // [path][layer]
  std::vector<uint32_t> signalled_;  // [path][layer]
  std::vector<uint64_t> lost_;       // [layer]
  std::vector<uint64_t> committed_;  // [layer]
  std::vector<Run> runs_;
  uint32_t used_ = 0;  // by Path: something was staged for it since it opened
  uint64_t seq_ = 0;
  bool is_due_ = false;

  // Of the rewriting under way.
  size_t run_ = 0;
  uint32_t done_in_run_ = 0;
  bool cursor_open_ = false;
  bool unit_ready_ = false;
  kv::UnitCursor cursor_;
  kv::Unit unit_;
  uint32_t wrote_ = 0;         // by Path, since the last SETTLE
  uint32_t flush_posted_ = 0;  // by Path, behind its last rewrite
  uint64_t ops_out_ = 0;
  std::array<uint32_t, base::kMaxPathsPerPeer> flushes_out_{};
};

}  // namespace baton::handoff
