#include "plugins/loopback/model_path.h"

#include <algorithm>
#include <cstring>

#include "baton/plugin/sdk.h"
#include "plugins/loopback/model_fabric.h"
#include "plugins/loopback/model_later.h"
#include "plugins/loopback/model_rail.h"

namespace baton_loopback {
namespace {

// Only good within one fabric.
struct Address {
  uint64_t fabric;
  uint64_t epoch;
  uint32_t index;
  uint32_t zero;
};

}  // namespace

ModelPath::ModelPath(ModelRail* rail, const baton_path_options& options)
    : rail_(rail),
      cookie_(options.cookie),
      epoch_(options.epoch),
      max_message_bytes_(options.max_message_bytes == 0 ? kMaxMessageBytes
                                                        : options.max_message_bytes),
      posted_receives_(rail->settings().receive_depth) {
  index_ = fabric().add(this);
  endpoint_ = index_ % settings().endpoints;
}

ModelPath::~ModelPath() { fabric().remove(index_); }

ModelFabric& ModelPath::fabric() const { return *rail_->fabric(); }
const ModelSettings& ModelPath::settings() const { return rail_->settings(); }
ModelPath* ModelPath::peer() const { return connected_ ? fabric().find(peer_index_) : nullptr; }

bool ModelPath::is_alive() const {
  return connected_ && !broken_ && !fencing_ && !fenced_ && !rail_->is_dead();
}

bool ModelPath::takes_bytes() const {
  return !broken_ && !fence_ended_ && !fenced_ && !rail_->is_dead();
}

void ModelPath::trace(const char* what, uint64_t a, uint64_t b) const {
  fabric().trace(what, index_, a, b);
}

baton_loopback_path_info ModelPath::info() const {
  const ModelPath* other = peer();
  return {index_, other == nullptr ? UINT32_MAX : other->index_, settings().tag,
          other == nullptr ? UINT32_MAX : other->settings().tag};
}

void ModelPath::address(uint8_t* out, uint32_t* length_bytes) const {
  const Address address{fabric().name(), epoch_, index_, 0};
  std::memcpy(out, &address, sizeof address);
  *length_bytes = sizeof address;
}

baton_rc ModelPath::connect(const uint8_t* peer_address, uint32_t length_bytes, char* error) {
  Address address{};
  if (length_bytes != sizeof address) {
    baton_sdk::format_text(error, "loopback: a path address of %u bytes, expected %zu",
                           length_bytes, sizeof address);
    return BATON_RC_INVALID;
  }
  std::memcpy(&address, peer_address, sizeof address);
  if (address.fabric != fabric().name() || address.index == index_) {
    baton_sdk::format_text(error, "loopback: the address names no peer on this rail's fabric");
    return BATON_RC_INVALID;
  }
  if (connected_) {
    baton_sdk::format_text(error, "loopback: path %u is connected already", index_);
    return BATON_RC_INVALID;
  }
  ModelPath* other = fabric().find(address.index);
  const bool is_there = other != nullptr && other->epoch_ == address.epoch;
  if (is_there && other->connected_ && other->peer_index_ != index_) {
    baton_sdk::format_text(error, "loopback: path %u is connected already", address.index);
    return BATON_RC_INVALID;
  }
  // A queue pair is set up without a word with the other side; the others talk to it.
  const bool is_gone = !is_there || other->fencing_ || other->fenced_ || other->broken_;
  if (fencing_ || broken_ || (is_gone && !settings().is_hardware())) {
    baton_sdk::format_text(error, "loopback: the peer's path %u is gone", address.index);
    return BATON_RC_BROKEN;
  }
  connected_ = true;
  peer_index_ = address.index;
  trace("connected", peer_index_);
  return BATON_RC_OK;
}

void ModelPath::close() { rail_->path_close(this); }

// ---- the end

void ModelPath::break_end(const char* reason) {
  if (broken_ || fencing_) return;
  broken_ = true;
  baton_sdk::format_text(reason_, "loopback: %s", reason);
  inbox_.clear();
  trace("broke");
  rail_->wake();
}

void ModelPath::break_both(const char* reason) {
  ModelPath* other = peer();
  break_end(reason);
  if (other != nullptr && other->peer_index_ == index_) other->break_end(reason);
}

// A stream's reset, or the closing of shared memory, is seen behind what was sent before. Nobody
// tells a queue pair.
void ModelPath::peer_notices(const char* reason) {
  ModelPath* other = peer();
  if (settings().is_hardware() || other == nullptr || is_one_way_) return;
  const uint32_t from = index_;
  other->later(arrival_ns(), [reason, from](ModelPath& end) {
    if (end.connected_ && end.peer_index_ != from) return;
    end.break_end(reason);
  });
}

void ModelPath::fence() {
  if (fencing_ || fenced_) return;
  fencing_ = true;
  trace("fence");
  peer_notices("the peer fenced the path");
  if (settings().transport == Transport::kSrd && !endpoint_gone_) close_endpoint();
  const bool is_slow = settings().is_hardware() && settings().fence_ns > 0 && !rail_->is_dead();
  if (!is_slow) {
    finish_fence();
    return;
  }
  // What is on the way lands until the queue pair is gone.
  const auto takes_ns = static_cast<int64_t>(1 + fabric().random(settings().fence_ns));
  later(fabric().now_ns() + takes_ns, [](ModelPath& end) {
    end.fence_ended_ = true;
    end.rail_->wake();
  });
}

void ModelPath::close_endpoint() {
  for (ModelPath* sibling : rail_->paths()) {
    if (sibling == this || sibling->endpoint_ != endpoint_ || sibling->endpoint_gone_) continue;
    sibling->trace("endpoint closed", settings().tag);
    sibling->endpoint_gone_ = true;
    sibling->break_end("its endpoint was closed to fence another path");
  }
}

void ModelPath::finish_fence() {
  if (fenced_) return;
  fence_ended_ = true;
  inbox_.clear();
  returns_.clear();
  flushes_.clear();
  const baton_host* host = rail_->host();
  // What completed before the fence is reported as what it was.
  for (const Report& report : std::exchange(reports_, {})) {
    const auto found = out_.find(report.sequence);
    if (report.is_immediate || found == out_.end()) continue;
    const ModelPostPtr post = found->second;
    out_.erase(found);
    host->op_done(host->context, cookie_, post->op, report.status);
  }
  for (const auto& [sequence, post] : std::exchange(out_, {}))
    host->op_done(host->context, cookie_, post->op, BATON_OP_IN_DOUBT);
  fenced_ = true;
  trace("fenced");
  host->fenced(host->context, cookie_);
}

void ModelPath::process_died() {
  trace("its process died");
  peer_notices("the peer is gone");
  inbox_.clear();
  // A dead process's memory is nobody's: what has not left never will.
  fence_ended_ = true;
}

void ModelPath::fault(const baton_loopback_fault& fault) {
  constexpr const char* kNames[] = {"fault: killed",    "fault: killed at one end",
                                    "fault: half dead", "fault: one way",
                                    "fault: stalled",   "fault: full"};
  trace(kNames[fault.kind], static_cast<uint64_t>(fault.until_ns));
  switch (fault.kind) {
    case BATON_LOOPBACK_FAULT_KILL:
      break_both("the link went down");
      return;
    case BATON_LOOPBACK_FAULT_KILL_ONE:
      break_end("the link went down");
      return;
    case BATON_LOOPBACK_FAULT_HALF_DEAD:
      is_half_dead_ = true;
      return;
    case BATON_LOOPBACK_FAULT_ONE_WAY:
      is_one_way_ = true;
      return;
    case BATON_LOOPBACK_FAULT_STALL:
      stalled_until_ns_ = fault.until_ns;
      return;
    case BATON_LOOPBACK_FAULT_FULL:
      full_until_ns_ = fault.until_ns;
      if (fault.until_ns != INT64_MAX) {
        later(fault.until_ns, [](ModelPath& end) { end.rail_->wake(); });
      }
      return;
    case BATON_LOOPBACK_FAULT_NO_MEMORY:
    case BATON_LOOPBACK_FAULT_DEAD_RAIL:
      return;  // a rail's
  }
}

}  // namespace baton_loopback
