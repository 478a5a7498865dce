#include "examples/reference_engine/kv_pulls.h"

#include <algorithm>

#include "examples/reference_engine/engine_progress.h"

namespace baton_engine {

using baton::Status;
using baton::StatusCode;

namespace {

constexpr int64_t kMsNs = 1'000'000;
// Of waits for one Pull, while another may fail.
constexpr uint32_t kWaitSliceMs = 20;

}  // namespace

void KvPulls::take_offers(uint32_t wait_ms) {
  while (awaits_offers()) {
    const int64_t left_ms = (request_.end_ns - now_ns()) / kMsNs;
    if (left_ms <= 0) {
      fail({StatusCode::kDeadlineExceeded, std::to_string(pulls_.size()) + " of " +
                                               std::to_string(request_.offers) + " offers of \"" +
                                               request_.tag + "\" came"});
      return;
    }
    const auto offer = context_.wait_offer(
        request_.tag, static_cast<uint32_t>(std::min<int64_t>(left_ms, wait_ms)));
    if (offer.code() == StatusCode::kDeadlineExceeded) return;
    if (!offer.is_ok()) return fail(offer.status());
    auto pull = context_.pull({offer->id,
                               request_.cache,
                               {request_.blocks},
                               static_cast<uint32_t>(std::min<int64_t>(left_ms, UINT32_MAX))});
    // Its turn comes with the next look.
    if (pull.code() == StatusCode::kBusy) return;
    if (!pull.is_ok()) return fail(pull.status());
    pulls_.push_back(std::move(*pull));
    wait_ms = 0;
  }
}

Status KvPulls::poll_layer(uint32_t layer) {
  bool is_here = pulls_.size() == request_.offers;
  for (const baton::Pull& pull : pulls_) {
    const Status status = pull.gate(layer).poll();
    is_here = is_here && status.is_ok();
    if (!status.is_ok() && status.code() != StatusCode::kBusy) fail(status);
  }
  if (!status_.is_ok()) return status_;
  if (is_here) return Status::ok();
  return {StatusCode::kBusy, "layer " + std::to_string(layer) + " is not here yet"};
}

void KvPulls::wait_layer(uint32_t layer, uint32_t wait_ms) {
  if (awaits_offers()) return take_offers(wait_ms);
  for (const baton::Pull& pull : pulls_) {
    const baton::Gate gate = pull.gate(layer);
    if (gate.is_open()) continue;
    gate.wait(wait_ms).ignore();
    return;
  }
}

Status KvPulls::wait_end() {
  while (awaits_offers()) take_offers(kWaitSliceMs);
  while (true) {
    const baton::Pull* open = nullptr;
    for (const baton::Pull& pull : pulls_) {
      if (!baton::is_terminal(pull.state())) {
        open = &pull;
      } else if (!pull.status().is_ok()) {
        fail(pull.status());
      }
    }
    if (open == nullptr) return status_;
    if (now_ns() > request_.end_ns + kEndsAfterMs * kMsNs) {
      return {StatusCode::kDeadlineExceeded, "a pull of \"" + request_.tag + "\" does not end"};
    }
    open->wait(kWaitSliceMs).ignore();
  }
}

void KvPulls::cancel(const std::string& reason) { fail({StatusCode::kCancelled, reason}); }

std::vector<baton::GrantRecord> KvPulls::records() const {
  std::vector<baton::GrantRecord> out;
  for (const baton::Pull& pull : pulls_) out.push_back(pull.record());
  return out;
}

void KvPulls::fail(const Status& status) {
  if (!status_.is_ok()) return;
  status_ = status;
  // One that is complete by now stays so.
  for (baton::Pull& pull : pulls_) pull.cancel("the hand-off was given up: " + status.message());
}

}  // namespace baton_engine
