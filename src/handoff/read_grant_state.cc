#include "src/handoff/read_grant_state.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton::handoff {

void ReadGrantState::on_accepted(uint32_t, uint64_t) { ++ops_out; }

void ReadGrantState::on_refused(uint32_t, uint64_t) { --ops_out; }

void ReadGrantState::on_op_done(uint32_t, bool, baton_op_status) {
  BATON_ASSERT(ops_out > 0, "no more ops end than were accepted");
  --ops_out;
}

void ReadGrantState::on_signalled(uint32_t path, uint32_t ordinal, uint32_t count) {
  posts.fetch_add(1, std::memory_order_relaxed);
  immediates.fetch_add(1, std::memory_order_relaxed);
  paths_[path].signalled[ordinal] += count;
  LayerSent& layer = layers[ordinal];
  const uint64_t signalled = layer.signalled.load(std::memory_order_relaxed) + count;
  layer.signalled.store(signalled, std::memory_order_relaxed);
  if (signalled == told[ordinal].num_tokens())
    layer.posted_ns.store(clock->now_ns(), std::memory_order_relaxed);
}

void ReadGrantState::start(std::span<const wire::SlotReference> reader_slots) {
  BATON_ASSERT(reader_slots.size() == num_layers, "a slot for each layer");
  for (uint32_t i = 0; i < num_layers; ++i) {
    const wire::SlotReference& slot = reader_slots[i];
    slots.push_back({counter::SlotIndex(slot.slot), slot.generation, i});
  }
  for (OnPath& path : paths_) {
    path.assigned.resize(num_layers);
    path.signalled.resize(num_layers);
  }
  reader_started = true;
  has_untold = true;
}

void ReadGrantState::layer_final(uint32_t ordinal, TokenRange chunk) {
  Layer& layer = told[ordinal];
  const uint32_t end = std::clamp(chunk.end, layer.tokens.begin, layer.tokens.end);
  layer.final_tokens = end - layer.tokens.begin;
  has_untold = true;
}

void ReadGrantState::staged(uint32_t path, uint32_t ordinal, uint32_t count) {
  told[ordinal].told += count;
  paths_[path].assigned[ordinal] += count;
}

bool ReadGrantState::used(uint32_t path) const {
  const std::vector<uint32_t>& assigned = paths_[path].assigned;
  return std::any_of(assigned.begin(), assigned.end(), [](uint32_t count) { return count > 0; });
}

bool ReadGrantState::path_died(uint32_t path, std::span<const uint64_t> applied) {
  OnPath& on = paths_[path];
  for (uint32_t i = 0; i < num_layers; ++i) {
    if (applied[i] > on.signalled[i]) return false;
  }
  for (uint32_t i = 0; i < num_layers; ++i) {
    const auto counted = static_cast<uint32_t>(applied[i]);
    told[i].told -= on.assigned[i] - counted;
    layers[i].signalled.fetch_sub(on.signalled[i] - counted, std::memory_order_relaxed);
    on.assigned[i] = on.signalled[i] = 0;
  }
  has_untold = true;
  return true;
}

bool ReadGrantState::is_all_told() const {
  return std::all_of(told.get(), told.get() + num_layers,
                     [](const Layer& layer) { return layer.told == layer.num_tokens(); });
}

TransferRecord ReadGrantState::record() const {
  TransferRecord out = TransferState::record();
  const bool is_done = life.state() == State::kDone;
  out.units = is_done ? plan->total_units() : 0;
  out.bytes = is_done ? plan->total_bytes() : 0;
  return out;
}

}  // namespace baton::handoff
