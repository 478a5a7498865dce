#include "src/handoff/transfer_state.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton::handoff {

const baton_region_key* TransferState::RemoteSection::on(RailIndex rail) const {
  for (const Key& one : keys) {
    if (one.rail == rail) return &one.key;
  }
  return nullptr;
}

bool TransferState::reaches(RailIndex rail) const {
  return std::all_of(remote.begin(), remote.end(),
                     [rail](const RemoteSection& section) { return section.on(rail) != nullptr; });
}

void TransferState::path_died(uint32_t path) {
  const uint32_t bit = 1u << path;
  const bool was_used = (used_paths & bit) != 0;
  // Read once: a cancel that comes in between is one that came afterwards.
  const bool is_active = life.is_active();
  if (!is_active && (posted_paths() & ~flushed & bit) != 0) writes_in_doubt = true;
  posted[path] = 0;
  used_paths &= ~bit;
  flush_posted &= ~bit;
  flushed &= ~bit;
  if (!was_used || !is_active) return;
  used_paths = 0;
  next_run = 0;
  run_offset = 0;
  all_staged = false;
  // What the others carried so far may land late, beside what replaces it: all of them are flushed
  // at the end, also those that carry nothing more.
  flush_posted = 0;
  flushed = 0;
}

uint32_t TransferState::posted_paths() const {
  uint32_t paths = 0;
  for (uint32_t path = 0; path < posted.size(); ++path) {
    if (posted[path] > 0) paths |= 1u << path;
  }
  return paths;
}

void TransferState::on_accepted(uint32_t path, uint64_t bytes) {
  ++ops_out;
  ++ops_on[path];
  if (bytes == 0) {
    ++flushes_out[path];
    return;
  }
  ++posted[path];
  const int64_t now_ns = clock->now_ns();
  posts.fetch_add(1, std::memory_order_relaxed);
  bytes_posted.fetch_add(bytes, std::memory_order_relaxed);
  if (first_post_ns.load(std::memory_order_relaxed) == 0)
    first_post_ns.store(now_ns, std::memory_order_relaxed);
  last_post_ns.store(now_ns, std::memory_order_relaxed);
}

void TransferState::on_refused(uint32_t path, uint64_t bytes) {
  --ops_out;
  --ops_on[path];
  if (bytes == 0) {
    --flushes_out[path];
    return;
  }
  --posted[path];
  posts.fetch_sub(1, std::memory_order_relaxed);
  bytes_posted.fetch_sub(bytes, std::memory_order_relaxed);
}

// An op in doubt says nothing here: its Path is being fenced, and what that means for the Transfer
// is the Engine's to say.
void TransferState::on_op_done(uint32_t path, bool is_flush, baton_op_status status) {
  BATON_ASSERT(ops_out > 0 && ops_on[path] > 0, "no more ops end than were accepted");
  --ops_out;
  --ops_on[path];
  if (status == BATON_OP_REFUSED) op_refused = true;
  if (!is_flush) return;
  --flushes_out[path];
  // A flush from before start_over() covers less than what is meant now.
  if (flushes_out[path] == 0 && status == BATON_OP_DONE) flushed |= flush_posted & 1u << path;
}

void TransferState::on_signalled(uint32_t path, uint32_t ordinal, uint32_t units) {
  settlement.signalled(path, ordinal, units);
  immediates.fetch_add(1, std::memory_order_relaxed);
  units_signalled.fetch_add(units, std::memory_order_relaxed);
  LayerSent& layer = layers[ordinal];
  const uint64_t signalled = layer.signalled.load(std::memory_order_relaxed) + units;
  layer.signalled.store(signalled, std::memory_order_relaxed);
  if (signalled == layer.units)
    layer.posted_ns.store(last_post_ns.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

TransferRecord TransferState::record() const {
  TransferRecord out;
  out.bytes = bytes_posted.load(std::memory_order_relaxed);
  out.units = units_signalled.load(std::memory_order_relaxed);
  // Of units that went to a Path which died before it signalled them the settlement told.
  if (kind == TransferKind::kPush && life.state() == State::kDone) {
    out.units = 0;
    for (uint32_t i = 0; i < num_layers; ++i) out.units += layers[i].units;
  }
  out.posts = posts.load(std::memory_order_relaxed);
  out.immediates = immediates.load(std::memory_order_relaxed);
  out.submitted_ns = submitted_ns;
  out.first_post_ns = first_post_ns.load(std::memory_order_relaxed);
  out.last_post_ns = last_post_ns.load(std::memory_order_relaxed);
  out.ended_ns = life.ended_ns();
  out.settlements = settlement.settlements.load(std::memory_order_relaxed);
  out.units_settled = settlement.units_settled.load(std::memory_order_relaxed);
  out.bytes_rewritten = settlement.bytes_rewritten.load(std::memory_order_relaxed);
  out.settling_ns = settlement.ns.load(std::memory_order_relaxed);
  out.layers.reserve(num_layers);
  for (uint32_t i = 0; i < num_layers; ++i) {
    SentLayer sent;
    sent.layer = i;
    sent.ticked_ns = layers[i].ticked_ns.load(std::memory_order_relaxed);
    sent.posted_ns = layers[i].posted_ns.load(std::memory_order_relaxed);
    sent.units = layers[i].units;
    sent.bytes = layers[i].bytes;
    out.layers.push_back(sent);
  }
  return out;
}

std::vector<FailedBlock> TransferState::failed_blocks() const {
  std::vector<FailedBlock> out;
  if (kind != TransferKind::kPush || !life.is_terminal() || life.state() == State::kDone)
    return out;
  // Only the receiver's verdict makes a block good, and it speaks for the whole Grant.
  for (uint32_t group = 0; group < target_blocks.size(); ++group) {
    for (uint32_t i = 0; i < target_blocks[group].size(); ++i)
      out.push_back({group, i, target_blocks[group][i]});
  }
  return out;
}

RequestKind TransferState::request_kind() const {
  switch (kind) {
    case TransferKind::kPush:
      return RequestKind::kPush;
    case TransferKind::kWrite:
      return RequestKind::kWrite;
    case TransferKind::kRead:
      return RequestKind::kRead;
    case TransferKind::kReadGrant:
      return RequestKind::kReadGrant;
  }
  return RequestKind::kPush;
}

std::string TransferState::describe() const {
  if (kind == TransferKind::kReadGrant) {
    return "read grant " + std::to_string(grant.value) +
           (tag.empty() ? "" : " (tag \"" + tag + "\")") + " to peer " + std::to_string(peer.value);
  }
  return "transfer " + std::to_string(id.value) + " (grant " + std::to_string(grant.value) +
         (tag.empty() ? "" : ", tag \"" + tag + "\"") + ") to peer " + std::to_string(peer.value);
}

}  // namespace baton::handoff
