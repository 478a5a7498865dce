// A RunReport such as a machine with a few cores measures.
#pragma once

#include <cstdint>

#include "examples/reference_engine/run_report.h"

namespace baton_test {

struct SampleShape {
  uint32_t num_layers = 30;
  uint32_t num_chunks = 4;
  uint32_t chunk_tokens = 256;
  // Decode's first step runs behind prefill layer by layer, instead of after the last one.
  bool decode_follows = false;
};

// Every layer and chunk has all its moments, in order; the two ways' tokens, KV and logits are
// equal; hand_off is push.
baton_engine::RunReport sample_report(const SampleShape& shape = {});
// Makes the hand-off one of three prefill ranks, of which the last owns no KV head, to one decode
// rank: rank r posts r us earlier than the last of all.
void add_sample_ranks(baton_engine::RunReport& report);

}  // namespace baton_test
