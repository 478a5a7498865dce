// The tcp plug-in's frames: pure encoding and checked decoding. docs/wire_format_tcp.md is the same
// in prose.
//
// A frame is a header, a table of runs (kWrite and kReadRequest only) and payload bytes (kWrite and
// kReadData only). A kWrite without runs is nothing but an immediate. All numbers are little-endian
// and of fixed width.
//
//   header, 24 bytes: magic u16 | type u8 | flags u8 | run_count u32 | payload_bytes u32 |
//   immediate u32 | grant u64 run, 24 bytes:    key u64 | address u64 | length_bytes u32 | zero u32
#pragma once

#include <cstddef>
#include <cstdint>

namespace baton_tcp {

inline constexpr uint16_t kFrameMagic = 0x4254;  // "TB" in memory
inline constexpr size_t kHeaderBytes = 24;
inline constexpr size_t kRunBytes = 24;
inline constexpr uint32_t kMaxRuns = 256;
// A write frame takes no further run once its payload has reached this, so that an answer to the
// peer waits for at most this much and one post.
inline constexpr uint32_t kFrameCloseBytes = 1u << 20;
// Payload of one kReadData frame; a longer read is answered by several.
inline constexpr uint32_t kMaxReadDataBytes = 256u << 10;
// Longest single run.
inline constexpr uint32_t kMaxMessageBytes = 64u << 20;
// Reads and flushes that one side may have unanswered; the other side's table of answers has this
// size, so it always has room and more is a violation.
inline constexpr uint32_t kMaxUnanswered = 1024;

enum class FrameType : uint8_t {
  kWrite = 1,        // runs, payload, perhaps an immediate; or an immediate alone
  kReadRequest = 2,  // runs
  kReadData = 3,     // payload: the next bytes of the oldest unanswered read
  kReadEnd = 4,      // the oldest unanswered read is complete, or refused (kFlagRefused)
  kFlush = 5,        // answer once everything before is placed
  kFlushDone = 6,    // the oldest unanswered request is a flush, and it is done
};

inline constexpr uint8_t kFlagImmediate = 1u << 0;  // kWrite
inline constexpr uint8_t kFlagRefused = 1u << 1;    // kReadEnd

struct FrameHeader {
  FrameType type = FrameType::kWrite;
  uint8_t flags = 0;
  uint32_t run_count = 0;
  uint32_t payload_bytes = 0;
  uint32_t immediate = 0;
  uint64_t grant = 0;
};

struct Run {
  uint64_t key = 0;
  uint64_t address = 0;
  uint32_t length_bytes = 0;
};

// Writes kHeaderBytes (kRunBytes) at `out`.
void encode_header(const FrameHeader& header, uint8_t* out);
void encode_run(const Run& run, uint8_t* out);

// Read kHeaderBytes (header.run_count * kRunBytes) at `bytes` and check every field. Null: good and
// `*out` is filled; otherwise a static text that says what is wrong. `max_message_bytes` is the
// longest run agreed for this path.
[[nodiscard]] const char* decode_header(const uint8_t* bytes, uint32_t max_message_bytes,
                                        FrameHeader* out);
// `out` has room for kMaxRuns. REQUIRES: `header` came from decode_header.
[[nodiscard]] const char* decode_runs(const uint8_t* bytes, const FrameHeader& header,
                                      uint32_t max_message_bytes, Run* out);

}  // namespace baton_tcp
