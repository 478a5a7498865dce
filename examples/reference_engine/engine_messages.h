// What the two engine processes say to each other beside the KV: JSON texts, sent as Baton
// messages. A record, which grows with the number of chunks, may take several.
//
// Thread rule: pure functions and values.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/engine_options.h"

namespace baton_engine {

// Tags of Context::send_message.
inline constexpr uint64_t kHelloTag = 1;       // decode -> prefill: its fingerprint
inline constexpr uint64_t kHelloReplyTag = 2;  // prefill -> decode: an HelloReply
inline constexpr uint64_t kRequestTag = 3;     // decode -> prefill: a PrefillRequest
inline constexpr uint64_t kRecordTag = 4;      // prefill -> decode: a PrefillRecord, or its end
inline constexpr uint64_t kRecordPartTag = 5;  // prefill -> decode: a part with more to follow

inline constexpr uint64_t kWithdrawTag =
    6;  // decode -> prefill: the id of a request that it gave up
// decode rank -> prefill rank: who it is, before any request: a ReaderName
inline constexpr uint64_t kReaderTag = 7;

inline constexpr size_t kMaxMessageBytes = 65536;  // of Context::send_message
// Of a record. 120,000 chunks of 30 layers; more is a fault of the sender.
inline constexpr size_t kMaxRecordBytes = 64U << 20;

struct HelloReply {
  baton::Status status;
  uint64_t clock_id = 0;  // equal on processes whose CLOCK_MONOTONIC is the same
  uint32_t pid = 0;
  uint32_t threads = 0;
  // Of the Contexts of all ranks, in order; the first is the one that replies.
  std::vector<std::string> rank_addresses = {};
};

struct PrefillRequest {
  uint64_t id = 0;
  HandOff hand_off = HandOff::kPush;
  uint32_t pause_ms = 0;         // kPaced: before each layer
  std::vector<uint32_t> tokens;  // all that prefill computes: without the prompt's last
  uint64_t session = 0;          // of the decode process: no two have the same
  uint32_t decode_tp = 1;
};

// By what a prefill rank finds the peer that is to read a request.
struct ReaderName {
  uint64_t session = 0;
  uint32_t decode_rank = 0;
  auto operator<=>(const ReaderName&) const = default;
};

// The tag of the Grant by which prefill writes to a decode rank, or is read by it.
std::string grant_tag(uint64_t session, uint64_t id, uint32_t decode_rank);

// How a request went on the prefill side; times are CLOCK_MONOTONIC there.
struct PrefillRecord {
  struct Chunk {
    uint32_t token_begin = 0;
    uint32_t token_end = 0;
    std::vector<int64_t> computed_ns;  // per layer: its KV was final
  };
  uint64_t id = 0;
  baton::Status status;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t cpu_ns = 0;  // of the whole process, from begin to end
  std::vector<Chunk> chunks;
  std::vector<int64_t> final_ns;  // per layer: told to Baton, by the last chunk
  // Per layer: its last unit was posted; of a pull, the reader was told that it is final.
  std::vector<int64_t> posted_ns;
  std::vector<uint64_t> sent_bytes;  // per layer

  // The same of each rank alone. Above: the first begin, the last of every other time, and sums.
  struct Rank {
    uint32_t head_first = 0;  // KV heads that it hands over
    uint32_t heads = 0;
    int64_t begin_ns = 0;
    int64_t end_ns = 0;
    int64_t cpu_ns = 0;
    std::vector<int64_t> final_ns;
    std::vector<int64_t> posted_ns;
    std::vector<uint64_t> sent_bytes;
  };
  std::vector<Rank> ranks;
};

// One record of the whole side from one of each of its ranks, of which each has itself in `ranks`.
// Its status is that of the rank that failed of its own accord, if one did. REQUIRES: not empty.
PrefillRecord merge(const std::vector<PrefillRecord>& of_ranks);

std::vector<uint8_t> encode(const HelloReply& reply);
std::vector<uint8_t> encode(const PrefillRequest& request);
std::vector<uint8_t> encode(const PrefillRecord& record);
std::vector<uint8_t> encode(const ReaderName& name);
std::vector<uint8_t> encode_withdrawal(uint64_t id);
// kProtocolError says what is wrong with the text.
baton::Result<HelloReply> decode_hello_reply(std::span<const uint8_t> bytes);
baton::Result<PrefillRequest> decode_request(std::span<const uint8_t> bytes);
baton::Result<PrefillRecord> decode_record(std::span<const uint8_t> bytes);
baton::Result<ReaderName> decode_reader(std::span<const uint8_t> bytes);
baton::Result<uint64_t> decode_withdrawal(std::span<const uint8_t> bytes);

// A record's text as its messages come, in order and none between them.
class RecordReader {
 public:
  // A message of kRecordPartTag or kRecordTag. kProtocolError past kMaxRecordBytes.
  baton::Status add(std::span<const uint8_t> part);
  // After the last one. The next record begins with the next add().
  baton::Result<PrefillRecord> take();

 private:
  std::vector<uint8_t> text_;
};

// HelloReply::clock_id of this process.
uint64_t this_clock_id();

}  // namespace baton_engine
