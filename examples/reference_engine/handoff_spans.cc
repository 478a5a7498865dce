#include "examples/reference_engine/handoff_spans.h"

#include <algorithm>

namespace baton_engine {

std::vector<ComputeSpan> compute_spans(const HandoffTimes& handoff) {
  std::vector<ComputeSpan> spans;
  int64_t begin_ns = handoff.prefill_begin_ns;
  const auto add = [&](size_t chunk, size_t layer, int64_t end_ns) {
    if (end_ns == 0) return;
    spans.push_back({chunk, layer, std::min(begin_ns, end_ns), end_ns});
    begin_ns = end_ns;
  };
  for (size_t chunk = 0; chunk < handoff.chunks.size(); ++chunk) {
    const std::vector<int64_t>& computed_ns = handoff.chunks[chunk].computed_ns;
    for (size_t layer = 0; layer < computed_ns.size(); ++layer) {
      add(chunk, layer, computed_ns[layer]);
    }
  }
  if (handoff.chunks.empty()) {
    for (const LayerTimes& layer : handoff.layers) add(0, layer.layer, layer.computed_ns);
  }
  return spans;
}

int64_t last_computed_ns(const HandoffTimes& handoff) {
  int64_t last_ns = 0;
  for (const LayerTimes& layer : handoff.layers) last_ns = std::max(last_ns, layer.computed_ns);
  return last_ns != 0 ? last_ns : handoff.prefill_end_ns;
}

int64_t last_placed_ns(const HandoffTimes& handoff) {
  int64_t last_ns = 0;
  for (const LayerTimes& layer : handoff.layers) last_ns = std::max(last_ns, layer.placed_ns);
  return last_ns;
}

int64_t last_moment_ns(const HandoffTimes& handoff) {
  int64_t last_ns = std::max(handoff.prefill_end_ns, handoff.first_token_ns);
  for (const LayerTimes& layer : handoff.layers) {
    last_ns =
        std::max({last_ns, layer.computed_ns, layer.posted_ns, layer.placed_ns, layer.seen_ns});
  }
  return last_ns;
}

HandoffTimes on_one_clock(const HandoffTimes& handoff, bool clock_is_shared) {
  HandoffTimes times = handoff;
  if (clock_is_shared) return times;
  times.requested_ns = 0;
  times.first_token_ns = 0;
  for (LayerTimes& layer : times.layers) layer.placed_ns = layer.seen_ns = 0;
  return times;
}

}  // namespace baton_engine
