#include "tests/engine_report/sample_report.h"

#include <algorithm>
#include <string>

namespace baton_test {

namespace {

using baton_engine::HandoffTimes;
using baton_engine::LayerTimes;
using baton_engine::RunReport;

constexpr int64_t kUs = 1000;
constexpr int64_t kMs = 1000 * kUs;

// Chunks from 1 s each, growing as attention looks at more; a little uneven, as in life.
void compute(const SampleShape& shape, int64_t begin_ns, HandoffTimes& handoff) {
  handoff.requested_ns = begin_ns - 3 * kMs;
  handoff.prefill_begin_ns = begin_ns;
  int64_t now_ns = begin_ns;
  for (uint32_t index = 0; index < shape.num_chunks; ++index) {
    HandoffTimes::Chunk chunk;
    chunk.token_begin = index * shape.chunk_tokens;
    chunk.token_end = chunk.token_begin + shape.chunk_tokens;
    for (uint32_t layer = 0; layer < shape.num_layers; ++layer) {
      now_ns += 33 * kMs + index * 2 * kMs + (layer * 7919 + index * 104729) % 4000 * kUs;
      chunk.computed_ns.push_back(now_ns);
    }
    handoff.chunks.push_back(chunk);
  }
  handoff.prefill_end_ns = now_ns;
  handoff.prefill_cpu_ns = 2 * (now_ns - begin_ns);
  for (uint32_t layer = 0; layer < shape.num_layers; ++layer) {
    LayerTimes times;
    times.layer = layer;
    times.computed_ns = handoff.chunks.back().computed_ns[layer];
    times.bytes = uint64_t{768} * shape.num_chunks * shape.chunk_tokens;
    handoff.layers.push_back(times);
    handoff.kv_bytes += times.bytes;
  }
}

// Each layer leaves at once, and decode takes 1.3 ms for a layer of its first step.
void push(const SampleShape& shape, HandoffTimes& handoff) {
  int64_t decode_ns = shape.decode_follows ? 0 : handoff.prefill_end_ns + 900 * kUs;
  for (LayerTimes& layer : handoff.layers) {
    layer.posted_ns = layer.computed_ns + 120 * kUs + layer.layer * 37 % 200 * kUs;
    layer.placed_ns = layer.posted_ns + 650 * kUs + layer.layer * 53 % 400 * kUs;
    layer.seen_ns = std::max(layer.placed_ns + 30 * kUs, decode_ns);
    decode_ns = layer.seen_ns + 1300 * kUs;
  }
  handoff.first_token_ns = decode_ns + 4 * kMs;
}

void push_after(HandoffTimes& handoff) {
  int64_t wire_ns = handoff.prefill_end_ns + 150 * kUs;
  int64_t decode_ns = 0;
  for (LayerTimes& layer : handoff.layers) {
    layer.posted_ns = wire_ns + 250 * kUs;
    layer.placed_ns = wire_ns + 1100 * kUs + layer.layer * 53 % 400 * kUs;
    wire_ns += 560 * kUs;
    layer.seen_ns = std::max(layer.placed_ns + 30 * kUs, decode_ns);
    decode_ns = layer.seen_ns + 1300 * kUs;
  }
  handoff.first_token_ns = decode_ns + 4 * kMs;
}

int64_t transfer_ns(const HandoffTimes& handoff) {
  int64_t placed_ns = 0;
  for (const LayerTimes& layer : handoff.layers) placed_ns = std::max(placed_ns, layer.placed_ns);
  return placed_ns - handoff.prefill_end_ns;
}

}  // namespace

RunReport sample_report(const SampleShape& shape) {
  RunReport report;
  report.model = "build/model/SmolLM2-135M-Instruct.Q4_1.gguf";
  report.transport = "tcp";
  report.hand_off = "push";
  report.kv_dtype = "f16";
  report.block_tokens = 16;
  report.chunk_tokens = shape.chunk_tokens;
  report.num_threads = 2;
  for (uint32_t token = 0; token < shape.num_chunks * shape.chunk_tokens; ++token) {
    report.prompt_token_ids.push_back(token * 31 % 49152);
  }
  report.monolithic.tokens = {504, 2685, 282, 260, 2};
  report.monolithic.text = "The terms of the\n\xe2\x80\x9clicense\xe2\x80\x9d.";
  report.disaggregated = report.monolithic;

  constexpr int64_t kBegin = 8'123'456'789'012;
  compute(shape, kBegin, report.handoff);
  push(shape, report.handoff);
  compute(shape, kBegin + 9'000 * kMs, report.push_after);
  push_after(report.push_after);

  report.kv_bytes_compared = report.handoff.kv_bytes;
  report.logits_compared = 49152 * report.monolithic.tokens.size();
  report.tail_ns = transfer_ns(report.handoff);
  report.push_after_transfer_ns = transfer_ns(report.push_after);
  report.hidden_share =
      1 - static_cast<double>(report.tail_ns) / static_cast<double>(report.push_after_transfer_ns);
  report.ttft_disaggregated_ns = report.handoff.first_token_ns - report.handoff.requested_ns;
  report.ttft_push_after_ns = report.push_after.first_token_ns - report.push_after.requested_ns;
  report.prefill_disaggregated_ns = report.handoff.prefill_end_ns - report.handoff.prefill_begin_ns;
  report.prefill_monolithic_ns = report.prefill_disaggregated_ns - 41 * kMs;
  report.ttft_monolithic_ns = report.prefill_monolithic_ns + 44 * kMs;
  return report;
}

void add_sample_ranks(RunReport& report) {
  report.prefill_tp = 3;
  for (uint32_t index = 0; index < 4; ++index) {
    baton_engine::RankTimes rank;
    rank.is_prefill = index < 3;
    rank.rank = rank.is_prefill ? index : 0;
    const bool is_copy = index == 2;
    rank.head_first = rank.is_prefill && !is_copy ? index : 0;
    rank.heads = is_copy ? 0 : rank.is_prefill ? 1 : 2;
    for (LayerTimes layer : report.handoff.layers) {
      if (rank.is_prefill) {
        layer.placed_ns = layer.seen_ns = 0;
        layer.posted_ns = is_copy ? 0 : layer.posted_ns - rank.rank * kUs;
        layer.bytes = layer.bytes * rank.heads / 2;
      } else {
        layer.computed_ns = layer.posted_ns = 0;
      }
      rank.kv_bytes += layer.bytes;
      rank.layers.push_back(layer);
    }
    report.ranks.push_back(rank);
  }
}

}  // namespace baton_test
