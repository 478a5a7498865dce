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
  uint32_t pull_percent = 40;  // of the hand-offs; the others are pushed
  // A SIGKILL of the prefill process every so many hand-offs, on average. 0: never.
  uint32_t kill_every = 40;
  // Likewise of a second decode process, which lives for a few hand-offs only. 0: there is none.
  uint32_t decode_kill_every = 60;
  std::string json_path;
  bool quiet = false;
};

// The tiny model, whose prefill is a matter of a millisecond.
baton_engine::EngineOptions engine_options();
// Small bounds: what is not given back shows as BUSY soon.
baton::ContextOptions context_options(const std::string& name);

inline constexpr uint64_t kRequestTag = 1;
// Of both: a request's id as text.
inline constexpr uint64_t kWithdrawTag = 2;  // from decode: nobody waits for it
inline constexpr uint64_t kGivenUpTag = 3;   // from prefill: its offer has gone, and was cancelled
inline constexpr uint32_t kNever = UINT32_MAX;

struct SoakRequest {
  uint64_t session = 0;  // of the decode process
  uint64_t id = 0;
  std::vector<uint32_t> tokens;  // all that prefill computes
  bool is_pull = false;          // prefill offers a ReadGrant; else decode has offered a Grant
  bool layer_by_layer = true;    // else sealed at the end only
  // Prefill cancels when this layer of this chunk is final; of the chunk behind the last: when all
  // is sealed.
  uint32_t cancel_chunk = kNever;
  uint32_t cancel_layer = kNever;

  std::string grant_tag() const {
    return "soak " + std::to_string(session) + " " + std::to_string(id);
  }
};

std::vector<uint8_t> encode(const SoakRequest& request);
// REQUIRES: from encode().
SoakRequest decode(std::span<const uint8_t> bytes);
std::vector<uint8_t> encode_id(uint64_t id);
// REQUIRES: from encode_id().
uint64_t decode_id(std::span<const uint8_t> bytes);

}  // namespace baton_soak
