// KvPulls: one request's KV as one decode rank reads it: a Pull of each prefill rank that owns some
// of its heads, begun when that rank's offer comes.
//
// Invariants:
//  1. All or nothing: the first that fails cancels the others, and no offer is taken up any more.
//  2. All of them, with the offers that have not come, have one deadline.
//  3. After wait_end() no byte of the blocks is written on the request's behalf.
//
// Ownership: owns the Pulls and borrows the Context, which outlives it. Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "baton/context.h"
#include "baton/status.h"

namespace baton_engine {

// A Grant or a Pull ends this long after its deadline at the latest; then a bit for the slices of
// waits.
inline constexpr uint32_t kEndsAfterMs = 2500;

class KvPulls {
 public:
  struct Request {
    baton::CacheId cache;          // the local one
    std::string tag;               // of every offer
    size_t offers = 0;             // how many will come
    std::vector<uint32_t> blocks;  // that the tokens touch
    int64_t end_ns = 0;            // the deadline, as now_ns() has it
  };
  KvPulls(baton::Context& context, Request request)
      : context_(context), request_(std::move(request)) {}

  // Begins a Pull for each offer that is here. With more to come, waits for the next one at most
  // `wait_ms`.
  void take_offers(uint32_t wait_ms = 0);

  // OK when the layer is here from all; kBusy when it may still come; else why it does not.
  baton::Status poll_layer(uint32_t layer);
  // Until poll_layer() may have news, at most `wait_ms`.
  void wait_layer(uint32_t layer, uint32_t wait_ms);

  // Waits until all Pulls have ended; OK when they did so well, and all have been.
  baton::Status wait_end();
  // Begins to end the Pulls early.
  void cancel(const std::string& reason);

  // One of each Pull. Complete after wait_end().
  std::vector<baton::GrantRecord> records() const;

 private:
  bool awaits_offers() const { return status_.is_ok() && pulls_.size() < request_.offers; }
  void fail(const baton::Status& status);

  baton::Context& context_;
  Request request_;
  std::vector<baton::Pull> pulls_;
  baton::Status status_;  // sticky
};

}  // namespace baton_engine
