// The incoming direction of a path: recvmsg -> frames -> payload straight into its targets.
//
// Invariants:
//  1. A chunk of a write is resolved in the call that places it; what was refused because its Grant
//  ended goes to the
//     discard buffer, a violation ends the path.
//  2. An immediate is reported after the last byte of its frame is placed (or discarded); frames
//  are handled in stream
//     order, so it covers every earlier write of the path.
//  3. At most the budget is placed per call.
//  4. Every length, count and index that the peer sent is checked before it is used.
//
// One recvmsg reads the rest of a frame's payload and, behind it into a small buffer, the next
// header and table: a stream of large frames costs a copy of at most kReadAheadBytes per frame, a
// stream of small ones about one call for several.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "baton/plugin/plugin.h"
#include "baton/plugin/sdk.h"
#include "plugins/tcp/frame.h"
#include "plugins/tcp/post_entry.h"
#include "plugins/tcp/sender.h"

namespace baton_tcp {

class Receiver {
 public:
  // `sender` outlives this. False: out of memory.
  [[nodiscard]] bool open(const PathContext& context, Sender* sender);

  // Receives and places at most `budget_bytes`. Returns the number of system calls that moved
  // bytes.
  uint32_t receive(int fd, uint64_t budget_bytes);

  // Bytes may be waiting, in the socket or behind an exhausted budget.
  [[nodiscard]] bool ready() const { return broken() ? false : (ready_ || stopped_); }
  void set_ready() { ready_ = true; }
  // The other end will send no more: read on to the end of the stream whatever a short read
  // suggests.
  void set_hang_up() { ready_ = hang_up_ = true; }

  // The stream ended or broke the protocol; reason() says how.
  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] const char* reason() const { return reason_; }

 private:
  enum class State : uint8_t { kHeader, kRuns, kPayload };
  struct Cursor {     // a place in the runs of a write or in the ranges of a read
    uint32_t index;   // of the run or range
    uint32_t offset;  // bytes into it
  };
  struct Chunk {
    uint8_t* address;  // null: the path broke
    uint32_t length_bytes;
  };
  // A full header and table fit, with room to spare for small frames behind them.
  static constexpr size_t kReadAheadBytes = 16384;
  static constexpr size_t kMaxVectors = 256;
  // Bounds the work of one call when the peer sends frames without payload.
  static constexpr uint32_t kMaxCalls = 64;
  // The receive low-water mark while a long payload is under way, and what counts as long.
  static constexpr uint32_t kMaxLowWaterBytes = 256u << 10;
  static constexpr uint32_t kMinLowWaterBytes = 64u << 10;

  void parse();
  void begin_frame();
  void begin_runs();
  void end_read(bool refused);
  void end_flush();
  void place_read_ahead();
  [[nodiscard]] Chunk next_chunk(Cursor* cursor, uint64_t max_bytes);
  void advance(uint32_t bytes);
  void end_payload();
  void set_low_water(int fd);
  [[nodiscard]] bool fill(int fd);
  [[nodiscard]] bool handle_result(ssize_t received, size_t asked_bytes);
  void fail(const char* what);

  PathContext context_;
  Sender* sender_ = nullptr;
  State state_ = State::kHeader;
  bool ready_ = true;
  bool stopped_ = false;
  bool hang_up_ = false;
  bool broken_ = false;
  FrameHeader frame_;
  uint32_t payload_left_ = 0;
  uint32_t low_water_bytes_ = 1;  // as the socket has it
  Cursor write_cursor_{};
  Cursor read_cursor_{};
  uint64_t budget_ = 0;
  uint64_t frames_ = 0;  // for the texts
  size_t buffer_begin_ = 0;
  size_t buffer_end_ = 0;
  baton_sdk::HostArray<uint8_t> buffer_;
  baton_sdk::HostArray<Run> runs_;
  baton_sdk::HostArray<iovec> vectors_;
  char reason_[BATON_ERROR_BYTES] = {};
};

}  // namespace baton_tcp
