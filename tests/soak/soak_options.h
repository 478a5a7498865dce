// What both processes of a soak know: its settings, the engine's, and the request that travels
// beside each Grant.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "baton/context.h"
#include "examples/reference_engine/engine_options.h"

namespace baton_soak {

struct SoakOptions {
  uint64_t hand_offs = 200;
  uint64_t seed = 0;
  uint32_t cancel_percent = 20;
  // A SIGKILL of the prefill process every so many hand-offs, on average. 0: never.
  uint32_t kill_every = 40;
  std::string json_path;
  bool quiet = false;
};

// The tiny model, whose prefill is a matter of a millisecond.
baton_engine::EngineOptions engine_options();
// Small bounds: what is not given back shows as BUSY soon.
baton::ContextOptions context_options(const std::string& name);

inline constexpr uint64_t kRequestTag = 1;
inline constexpr uint64_t kWithdrawTag = 2;  // a request's id as text: nobody waits for it
inline constexpr uint32_t kNever = UINT32_MAX;

struct SoakRequest {
  uint64_t id = 0;
  std::vector<uint32_t> tokens;  // all that prefill computes
  bool layer_by_layer = true;    // else sealed at the end only
  // Prefill cancels when this layer of this chunk is final.
  uint32_t cancel_chunk = kNever;
  uint32_t cancel_layer = kNever;

  std::string grant_tag() const { return "soak " + std::to_string(id); }
};

std::vector<uint8_t> encode(const SoakRequest& request);
// REQUIRES: from encode().
SoakRequest decode(std::span<const uint8_t> bytes);

}  // namespace baton_soak
