// What a process that leads a tensor-parallel side says to its ranks over a RankPipe, and they to
// it. JSON texts, but for tokens of a step and bytes of KV.
//
// Thread rule: pure functions and values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_options.h"

namespace baton_engine {

// Message::kind. The key is a request's, where it is about one.
enum class RankMessage : uint32_t {
  kReady = 1,   // rank: the model is loaded: RankReady
  kPrefill,     // leader -> prefill rank: compute and hand over a PrefillRequest
  kRecord,      // prefill rank: the PrefillRecord of its part
  kConnect,     // leader -> decode rank: a RankConnect. Answer: kDone
  kOpen,        // leader -> decode rank: take pages for an OpenRequest. Answer: kDone
  kStep,        // leader -> decode rank: run a step with this token. No answer when it goes well
  kStepFailed,  // decode rank: why a step failed there: a Status
  kFinish,      // leader -> decode rank: wait for the end of the hand-off. Answer: kArrivals
  kArrivals,    // decode rank: RankArrivals
  kShowKv,      // leader -> decode rank: all KV of the request. Answer: kKv, a KvImage's bytes
  kKv,
  kAbandon,   // leader -> decode rank: cancel the hand-off, wait until the pages are quiet. kDone
  kRelease,   // leader -> decode rank: forget the request
  kDone,      // decode rank: a Status
  kWithdraw,  // leader -> prefill rank: nobody waits for this request any more
};

struct RankReady {
  baton::Status status;
  std::string address;  // of its Context
};

// To which prefill ranks a decode rank connects.
struct RankConnect {
  uint64_t session = 0;
  std::vector<std::string> addresses;  // in order
};

// A request as every rank of the decode side opens it.
struct OpenRequest {
  uint64_t id = 0;
  uint64_t session = 0;
  uint32_t tokens = 0;           // that prefill hands over
  uint32_t capacity_tokens = 0;  // with those to be generated
  HandOff hand_off = HandOff::kPush;
};

// How a request's KV came to one decode rank, per layer; times as elsewhere.
struct RankArrivals {
  baton::Status status;
  std::vector<int64_t> placed_ns;
  std::vector<int64_t> seen_ns;
};

std::vector<uint8_t> encode(const baton::Status& status);
std::vector<uint8_t> encode(const RankReady& ready);
std::vector<uint8_t> encode(const OpenRequest& request);
std::vector<uint8_t> encode(const RankArrivals& arrivals);
std::vector<uint8_t> encode(const RankConnect& connect);
std::vector<uint8_t> encode_step(uint32_t token, bool is_first);
// kProtocolError says what is wrong. decode_status returns it, too.
baton::Status decode_status(std::span<const uint8_t> bytes);
baton::Result<RankReady> decode_ready(std::span<const uint8_t> bytes);
baton::Result<OpenRequest> decode_open(std::span<const uint8_t> bytes);
baton::Result<RankArrivals> decode_arrivals(std::span<const uint8_t> bytes);
baton::Result<RankConnect> decode_connect(std::span<const uint8_t> bytes);

struct RankStep {
  uint32_t token = 0;
  bool is_first = false;
};
baton::Result<RankStep> decode_step(std::span<const uint8_t> bytes);

}  // namespace baton_engine
