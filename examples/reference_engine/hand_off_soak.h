// HandOffSoak: many hand-offs back to back over one connection, each compared with one process
// alone; some are cancelled at random points. What a long test drives, with kills from outside.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/decode_client.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_progress.h"

namespace baton_engine {

class HandOffSoak {
 public:
  // True when the request's Outcome is what one process alone makes of prompts[index].
  using IsEqual = std::function<bool(size_t index, const Outcome& outcome)>;

  // `prompts` have at least two tokens. All are borrowed.
  HandOffSoak(DecodeClient& client, const EngineOptions& options,
              const std::vector<std::vector<uint32_t>>& prompts, uint32_t layers, IsEqual is_equal,
              Progress& progress)
      : client_(client),
        options_(options),
        prompts_(prompts),
        layers_(layers),
        is_equal_(std::move(is_equal)),
        progress_(progress),
        random_(options.seed) {}

  // Until options.hand_offs are through, or one fails: that failure.
  baton::Status run();
  // "hand-offs: 812 equal, 93 cancelled, 0 unequal of 10000", at any time.
  std::string summary() const;
  uint64_t unequal() const { return unequal_; }

 private:
  // Some at once.
  baton::Status run_batch(uint64_t most);
  CancelPoint choose_cancel();

  DecodeClient& client_;
  const EngineOptions& options_;
  const std::vector<std::vector<uint32_t>>& prompts_;
  const uint32_t layers_;
  const IsEqual is_equal_;
  Progress& progress_;
  std::mt19937_64 random_;
  uint64_t equal_ = 0;
  uint64_t cancelled_ = 0;
  uint64_t unequal_ = 0;
};

}  // namespace baton_engine
