#include "src/handoff/transfer_state.h"

#include "src/base/assert.h"

namespace baton::handoff {

void TransferState::on_accepted(uint64_t bytes) {
  ++ops_out;
  if (bytes == 0) return;
  const int64_t now_ns = clock->now_ns();
  posts.fetch_add(1, std::memory_order_relaxed);
  bytes_posted.fetch_add(bytes, std::memory_order_relaxed);
  if (first_post_ns.load(std::memory_order_relaxed) == 0)
    first_post_ns.store(now_ns, std::memory_order_relaxed);
  last_post_ns.store(now_ns, std::memory_order_relaxed);
}

void TransferState::on_refused(uint64_t bytes) {
  --ops_out;
  if (bytes == 0) return;
  posts.fetch_sub(1, std::memory_order_relaxed);
  bytes_posted.fetch_sub(bytes, std::memory_order_relaxed);
}

void TransferState::on_op_done(bool is_flush, baton_op_status status) {
  BATON_ASSERT(ops_out > 0, "no more ops end than were accepted");
  --ops_out;
  if (status == BATON_OP_IN_DOUBT) path_lost = true;
  if (status == BATON_OP_REFUSED) op_refused = true;
  if (is_flush && status == BATON_OP_DONE) flushed = true;
}

void TransferState::on_signalled(uint32_t ordinal, uint32_t units) {
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
  out.posts = posts.load(std::memory_order_relaxed);
  out.immediates = immediates.load(std::memory_order_relaxed);
  out.submitted_ns = submitted_ns;
  out.first_post_ns = first_post_ns.load(std::memory_order_relaxed);
  out.last_post_ns = last_post_ns.load(std::memory_order_relaxed);
  out.ended_ns = life.ended_ns();
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

std::string TransferState::describe() const {
  return "transfer " + std::to_string(id.value) + " (grant " + std::to_string(grant.value) +
         (tag.empty() ? "" : ", tag \"" + tag + "\"") + ") to peer " + std::to_string(peer.value);
}

}  // namespace baton::handoff
