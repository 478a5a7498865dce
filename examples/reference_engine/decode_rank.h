// DecodeRank: a tensor-parallel rank of the decode side other than the first. It takes pages for
// its heads and grants or pulls them, runs every step that its leader runs, and shows its KV.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>

#include "baton/status.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/kv_receiver.h"
#include "examples/reference_engine/rank_group.h"
#include "examples/reference_engine/rank_messages.h"
#include "examples/reference_engine/rank_pipe.h"

namespace baton_engine {

class DecodeRank {
 public:
  // All are borrowed.
  DecodeRank(EngineNode& node, KvPool& pool, const EngineOptions& options, RankGroup& group,
             RankPipe& pipe);

  // Does what the leader says. An error ends the rank; those of one request are answered.
  baton::Status handle(const RankPipe::Message& message);

 private:
  baton::Status handle_open(const RankPipe::Message& message);
  baton::Status handle_step(Incoming& incoming, const RankPipe::Message& message);
  baton::Status handle_finish(Incoming& incoming);
  baton::Status handle_abandon(Incoming& incoming);
  baton::Status answer(RankMessage kind, uint64_t key, std::span<const uint8_t> bytes);
  void drop_events();

  EngineNode& node_;
  const EngineOptions& options_;
  RankGroup& group_;
  RankPipe& pipe_;
  KvReceiver receiver_;
  std::map<uint64_t, Incoming> incoming_;
};

}  // namespace baton_engine
