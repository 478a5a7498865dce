// RankGroup: where the tensor-parallel ranks of one side meet: processes of one machine that share
// a piece of memory. Each adds its partial, waits for the others, and reads theirs.
//
// Meeting n uses half n % 2 of the memory. A rank writes to a half again two meetings later, and
// takes part in the one between only when it has read all it needs: no rank overwrites what another
// still reads.
//
// Invariants:
//  1. All ranks leave a meeting with the same verdict: OK, or that one of them has given the pass
//     up.
//  2. Every wait ends: with its deadline, when another rank's process has ended (which is named),
//     or with an interrupt. Such an error is sticky: the ranks no longer agree on anything.
//  3. After a pass, whether it ended well or was given up, the next one begins at the same meeting
//     everywhere.
//
// Ownership: maps the memory; the descriptor is its caller's. Thread rule: one thread, as
// PartialSums.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

#include "baton/status.h"
#include "examples/reference_engine/owned_fd.h"
#include "examples/reference_engine/partial_sums.h"
#include "examples/reference_engine/tensor_parts.h"

namespace baton_engine {

struct RankGroupOptions {
  uint32_t rank = 0;
  size_t floats = 0;         // of the largest partial; equal on all ranks
  uint32_t deadline_ms = 0;  // of one meeting
  // Looked at while it waits; an error ends the wait. May be empty.
  std::function<baton::Status()> check;
};

class RankGroup final : public PartialSums {
 public:
  // Memory for a group, all ranks absent: a descriptor, close-on-exec, sealed against shrinking.
  static baton::Result<OwnedFd> create_memory(size_t floats);
  // Joins the group in this memory. kInvalidArgument when it is of another size.
  static baton::Result<std::unique_ptr<RankGroup>> join(int memory, RankGroupOptions options);

  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;
  ~RankGroup() override;

  uint32_t rank() const { return options_.rank; }

  float* partial(uint32_t part) override;
  // kCancelled: another rank gave the pass up. kPeerLost, kDeadlineExceeded: a rank is gone or did
  // not come; then, and after an error of `check`, no meeting succeeds any more.
  baton::Status meet() override;
  const float* met(uint32_t part) const override;

  // Every rank calls it once after each pass, with how the pass went there. It is one more meeting,
  // unless one of the pass told already that it is given up. OK when no rank gave up.
  baton::Status end_pass(const baton::Status& own);
  // Some rank has given up the pass under way, or is lost, as far as is known now: what this rank
  // waits for elsewhere will not be used.
  bool is_given_up() const;
  // Said of whichever rank is first found to be gone: every rank's meetings end with its name.
  void say_lost(uint32_t rank);

 private:
  struct Shared;

  RankGroup(RankGroupOptions options, Shared* shared, size_t mapped_bytes);

  baton::Status meet_as(bool gives_up);
  baton::Status wait_for(uint32_t rank, int64_t end_ns);
  // Why the wait for `rank` ends without it, if it does now.
  baton::Status look_around(uint32_t rank, int64_t end_ns);
  bool has_come(uint32_t rank) const;
  bool is_gone(uint32_t rank);
  float* buffer(uint32_t meeting, uint32_t part) const;

  const RankGroupOptions options_;
  Shared* shared_;
  size_t mapped_bytes_;
  uint32_t meeting_ = 0;   // meetings begun here
  bool given_up_ = false;  // the last meeting told that the pass is over
  baton::Status broken_;
  std::array<OwnedFd, kTensorParts> processes_;  // of other ranks, once one was looked at
};

}  // namespace baton_engine
