// RunReport: what one comparison of the monolithic and the disaggregated engine measured. Filled by
// the orchestrator, written out as tables, JSON, SVG and a Perfetto trace.
//
// All times are CLOCK_MONOTONIC nanoseconds of one machine; 0: did not happen.
//
// Thread rule: a value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baton_engine {

// One layer of one hand-off; values of the chunk that completes the layer.
struct LayerTimes {
  uint32_t layer = 0;
  int64_t computed_ns = 0;  // prefill: KV appended, ProgressWord advanced
  // Prefill: its last unit was accepted by the plug-in; of a pull, decode was told that its last
  // tokens may be read.
  int64_t posted_ns = 0;
  int64_t placed_ns = 0;  // decode: its last unit was counted; of a pull, read
  int64_t seen_ns = 0;    // decode: the first step's attention passed the gate
  uint64_t bytes = 0;
};

// One hand-off, from the decode side's request to its first token.
struct HandoffTimes {
  int64_t requested_ns = 0;      // decode took its pages
  int64_t prefill_begin_ns = 0;  // prefill started to compute
  int64_t prefill_end_ns = 0;    // last layer of the last chunk computed
  int64_t prefill_cpu_ns = 0;    // CPU time of the prefill process between the two
  int64_t first_token_ns = 0;
  std::vector<LayerTimes> layers;
  struct Chunk {
    uint32_t token_begin = 0;
    uint32_t token_end = 0;
    std::vector<int64_t> computed_ns;  // per layer
  };
  std::vector<Chunk> chunks;
  uint64_t kv_bytes = 0;
};

struct Generated {
  std::vector<uint32_t> tokens;
  std::string text;
};

// What one rank of a side did of the hand-off that is reported. Of a prefill rank: computed, posted
// and the bytes that it sent, of its own KV heads; of a decode rank: placed, seen and the bytes
// that it received.
struct RankTimes {
  bool is_prefill = false;
  uint32_t rank = 0;
  uint32_t head_first = 0;
  uint32_t heads = 0;
  uint64_t kv_bytes = 0;
  std::vector<LayerTimes> layers;
};

// One round of measurement; 0: not measured.
struct RunRound {
  int64_t prefill_alone_ns = 0;  // in the prefill process, with no hand-off
  int64_t prefill_push_ns = 0;   // the same, with layer-wise push
  // CPU time of the whole prefill process meanwhile, Baton's threads included: unlike the two
  // above, it does not depend on what else the machine does.
  int64_t prefill_alone_cpu_ns = 0;
  int64_t prefill_push_cpu_ns = 0;
  int64_t tail_ns = 0;                 // of layer-wise push
  int64_t push_after_transfer_ns = 0;  // of push-after
  int64_t layer_alone_ns = 0;          // one layer of the request, with nothing else going on
  int64_t ttft_push_ns = 0;
  int64_t ttft_push_after_ns = 0;
};

struct RunReport {
  std::string model;
  std::string transport;
  std::string hand_off;  // "push", "pull" or "push-after": the mode that was asked for
  std::string kv_dtype;
  uint32_t block_tokens = 0;
  uint32_t chunk_tokens = 0;
  uint32_t num_threads = 0;
  uint32_t prefill_tp = 1;  // tensor-parallel ranks of each side
  uint32_t decode_tp = 1;
  std::vector<uint32_t> prompt_token_ids;
  Generated monolithic;
  Generated disaggregated;
  uint64_t kv_bytes_compared = 0;
  uint64_t kv_bytes_different = 0;
  uint64_t logits_compared = 0;
  uint64_t logits_different = 0;
  // Of the mode that was asked for; with several ranks, of each moment the last of all ranks.
  HandoffTimes handoff;
  std::vector<RankTimes> ranks;  // of the same; prefill ranks first
  HandoffTimes push_after;       // the same request with every layer sent after prefill (equal to
                                 // handoff in that mode)
  int64_t tail_ns = 0;           // last placed - last computed
  int64_t push_after_transfer_ns = 0;  // last placed - last computed of push_after
  double hidden_share = 0;             // 1 - tail / push_after_transfer
  int64_t ttft_monolithic_ns = 0;
  int64_t ttft_disaggregated_ns = 0;
  int64_t ttft_push_after_ns = 0;
  int64_t prefill_monolithic_ns = 0;  // compute time of prefill alone, for the slow-down
  int64_t prefill_disaggregated_ns = 0;
  std::vector<RunRound> rounds;  // before the run that is reported above
  // False: prefill runs under another kernel, and its times cannot be set beside decode's.
  bool clock_is_shared = true;
  bool equal() const {
    return kv_bytes_different == 0 && logits_different == 0 &&
           monolithic.tokens == disaggregated.tokens;
  }
};

}  // namespace baton_engine
