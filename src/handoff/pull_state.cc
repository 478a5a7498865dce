#include "src/handoff/pull_state.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "src/base/assert.h"

namespace baton::handoff {

void PullState::Reads::on_accepted(uint32_t path, uint64_t length_bytes) {
  ++ops_out;
  ++owner->ops_on_[path];
  accepted_bytes += length_bytes;
}

void PullState::Reads::on_refused(uint32_t path, uint64_t length_bytes) {
  --ops_out;
  --owner->ops_on_[path];
  accepted_bytes -= length_bytes;
}

void PullState::Reads::on_op_done(uint32_t path, bool, baton_op_status status) {
  BATON_ASSERT(ops_out > 0, "no more ops end than were accepted");
  --ops_out;
  --owner->ops_on_[path];
  switch (status) {
    case BATON_OP_DONE:
      owner->look_at(*this);
      return;
    case BATON_OP_IN_DOUBT:
      is_lost = true;
      owner->has_lost = true;
      return;
    case BATON_OP_REFUSED:
      owner->is_refused = true;
      return;
  }
}

uint32_t PullState::ops_out() const { return std::accumulate(ops_on_.begin(), ops_on_.end(), 0u); }

void PullState::tokens_counted(uint32_t ordinal, uint32_t count) {
  Reads& layer = reads[ordinal];
  layer.final_tokens += count;
  first_ready = std::min(first_ready, ordinal);
  look_at(layer);
}

void PullState::look_at(Reads& layer) {
  if (layer.is_whole || layer.is_lost || layer.has_ready() || layer.ops_out > 0) return;
  if (layer.final_tokens != layer.num_tokens() || layer.accepted_bytes != layer.bytes) return;
  if (is_refused) return;
  layer.is_whole = true;
  whole.push_back(layer.ordinal);
}

void PullState::path_fenced(uint32_t path, int64_t broken_ns) {
  for (uint32_t i = 0; i < num_layers; ++i) {
    Reads& layer = reads[i];
    if (layer.is_whole || (layer.used_paths >> path & 1) == 0) continue;
    layer.is_lost = true;
    has_lost = true;
    if (std::exchange(layer.is_missing, true)) continue;
    if (missing++ == 0) missing_since_ns = broken_ns;
  }
}

void PullState::no_longer_missing(Reads& layer, int64_t now_ns) {
  if (!std::exchange(layer.is_missing, false)) return;
  if (--missing == 0) settling_ns.fetch_add(now_ns - missing_since_ns, std::memory_order_relaxed);
}

void PullState::begin_again(Reads& layer) {
  BATON_ASSERT(layer.is_lost && layer.ops_out == 0, "nothing of it is under way");
  if (unit_pending && unit.layer_ordinal == layer.ordinal) unit_pending = false;
  layer.is_lost = false;
  layer.cursor_open = false;
  layer.asked_tokens = 0;
  layer.accepted_bytes = 0;
  layer.used_paths = 0;
  layers_read_again.fetch_add(1, std::memory_order_relaxed);
  first_ready = std::min(first_ready, layer.ordinal);
}

}  // namespace baton::handoff
