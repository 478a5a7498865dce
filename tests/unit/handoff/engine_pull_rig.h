// What tests of pulled hand-offs between two Engines share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/handoff/engine_pair.h"

namespace baton_test {

using Names = std::vector<std::string>;

inline baton_loopback_plan slow_plan() {
  baton_loopback_plan plan = EnginePair::default_plan();
  plan.bytes_per_progress = EnginePair::kBlockBytes;  // one unit a turn
  return plan;
}

// Tokens [begin, end) of both layers are final.
inline void submit(EnginePair& pair, uint32_t begin, uint32_t end) {
  baton::handoff::AddChunk add;
  add.transfer = pair.transfer;
  add.chunk.tokens = {begin, end};
  ++pair.transfer->chunks_queued;
  ASSERT_TRUE(pair.writer().engine().submit(std::move(add)).is_ok());
}

// Until nothing is left to do, to read, or to be delivered.
inline void settle(EnginePair& pair) {
  do {
    pair.turn_while_awake();
    pair.settle();
    pair.turn_while_awake();
  } while (!pair.writer().outbox.empty() || !pair.receiver().outbox.empty());
}

inline bool is_free(EnginePair& pair) { return pair.receiver().counters().num_free() == 64u; }

}  // namespace baton_test
