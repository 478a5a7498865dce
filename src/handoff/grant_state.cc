#include "src/handoff/grant_state.h"

#include "src/base/mutant.h"

namespace baton::handoff {

void GrantState::give_back() {
  if (num_layers > 0) counters->release(slots);
  uses.clear();
}

bool GrantState::begin_cancel(Status why, int64_t now_ns) {
  // Before the state can be seen; relaxed: it is told, and decides nothing.
  int64_t never = 0;
  cancelled_ns.compare_exchange_strong(never, now_ns, std::memory_order_relaxed);
  if (!life.begin_cancel(why)) return false;
  if (meters != nullptr) {
    meters->quarantined_grants.add();
    meters->quarantined_blocks.add(num_blocks());
    meters->quarantined_bytes.add(total_bytes);
  }
  fail_gates(why, now_ns);
  return true;
}

void GrantState::fail_gates(const Status& why, int64_t now_ns) {
  if (base::mutant_is(base::Mutant::kGateNotOpened)) return;
  for (uint32_t i = 0; i < num_layers; ++i) layers[i].gate->fail(why, now_ns);
  if (all != nullptr) all->fail(why, now_ns);
  if (group != nullptr) group->member_failed(*this, why, now_ns);
}

void GrantState::layer_arrived(uint32_t ordinal, int64_t now_ns) {
  layers[ordinal].placed_ns.store(now_ns, std::memory_order_relaxed);
  if (meters != nullptr) meters->placed_bytes.add(layers[ordinal].bytes);
  layers[ordinal].gate->slot_done(now_ns);
}

uint64_t GrantState::num_blocks() const {
  uint64_t blocks = 0;
  for (const auto& list : block_lists) blocks += list.size();
  return blocks;
}

GrantRecord GrantState::record() const {
  GrantRecord out;
  out.units = units_counted.load(std::memory_order_relaxed);
  out.bytes = total_bytes;
  out.granted_ns = granted_ns;
  out.ended_ns = life.ended_ns();
  out.layers_read_again = layers_read_again.load(std::memory_order_relaxed);
  out.settling_ns = settling_ns.load(std::memory_order_relaxed);
  out.layers.reserve(num_layers);
  for (uint32_t i = 0; i < num_layers; ++i) {
    PlacedLayer placed;
    placed.layer = i;
    placed.first_ns = layers[i].first_ns.load(std::memory_order_relaxed);
    placed.placed_ns = layers[i].placed_ns.load(std::memory_order_relaxed);
    placed.opened_ns = layers[i].gate->opened_ns();
    placed.units = layers[i].units;
    out.layers.push_back(placed);
  }
  return out;
}

std::string GrantState::describe() const {
  return (pull != nullptr ? "pull of grant " : "grant ") + std::to_string(id.value) +
         (tag.empty() ? "" : " (tag \"" + tag + "\")") + " to peer " + std::to_string(peer.value);
}

}  // namespace baton::handoff
