// RankTeam: the tensor-parallel ranks of one side, seen from the process that leads it: rank 0,
// which starts the others as processes of their own, and tells them what to do.
//
// Invariants:
//  1. Ranks end with the team: it closes their pipes, and ends those that do not leave.
//  2. A rank that is gone is named, with how it ended, by whichever call notices first.
//
// Thread rule: one thread, which outlives the team.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_child.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/model_config.h"
#include "examples/reference_engine/rank_group.h"
#include "examples/reference_engine/rank_messages.h"
#include "examples/reference_engine/rank_pipe.h"

namespace baton_engine {

// Of one meeting of the ranks: a rank may come as late as its KV does, or fails to.
inline uint32_t meeting_deadline_ms(const EngineOptions& options) {
  return options.deadline_ms + 5000;
}

// Compute threads of one rank of three: as many as asked for, or its share of the cores.
uint32_t rank_threads(uint32_t threads);

class RankTeam {
 public:
  // Starts ranks 1 and 2 of `side`, each with a pool of `blocks` blocks, and waits until they have
  // loaded the model and opened their Contexts. Errors: what a rank says of itself.
  static baton::Result<std::unique_ptr<RankTeam>> start(Side side, const EngineOptions& options,
                                                        const ModelConfig& config, uint64_t blocks);
  RankTeam(const RankTeam&) = delete;
  RankTeam& operator=(const RankTeam&) = delete;
  ~RankTeam();

  RankGroup& sums() { return *sums_; }
  // Called now and then while this process waits for its ranks in a meeting.
  void call_while_waiting(std::function<void()> call) { while_waiting_ = std::move(call); }
  // Ranks beside this process: [1, end).
  uint32_t end() const { return static_cast<uint32_t>(ranks_.size()) + 1; }
  const std::string& address(uint32_t rank) const { return ranks_[rank - 1].address; }

  baton::Status send(uint32_t rank, RankMessage kind, uint64_t key,
                     std::span<const uint8_t> bytes = {});
  baton::Status send_all(RankMessage kind, uint64_t key, std::span<const uint8_t> bytes = {});
  // The next message of `rank`. kProtocolError when it is of another kind.
  baton::Result<RankPipe::Message> receive(uint32_t rank, RankMessage kind, uint32_t timeout_ms);
  // A message, if there is one.
  baton::Result<std::optional<RankPipe::Message>> poll(uint32_t rank);
  // Descriptors that polls of this team's messages wait for.
  std::vector<int> fds() const;
  // kPeerLost names a rank that has ended.
  baton::Status check();

 private:
  struct Rank {
    EngineChild child;
    RankPipe pipe;
    std::string address;
  };

  explicit RankTeam(const EngineOptions& options) : options_(options) {}
  baton::Status start_rank(Side side, uint32_t rank, uint64_t blocks, int memory);
  // Of a pipe that failed: how its process ended, if it did.
  baton::Status explain(uint32_t rank, const baton::Status& status);

  EngineOptions options_;
  std::function<void()> while_waiting_;
  std::unique_ptr<RankGroup> sums_;
  std::vector<Rank> ranks_;
};

}  // namespace baton_engine
