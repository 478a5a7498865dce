// FrameReader: cuts a byte stream into frames.
//
// Invariants:
//  1. It buffers no more than it was fed, and at most one frame and what one feed brought with it;
//     an announced length reserves nothing.
//  2. Failure is sticky: after an oversized frame, next() fails for good.
//
// Thread rule: externally synchronised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "baton/status.h"

namespace baton::wire {

class FrameReader {
 public:
  // Frames longer than `max_frame_bytes` are refused.
  explicit FrameReader(size_t max_frame_bytes) : max_frame_bytes_(max_frame_bytes) {}

  void set_max_frame_bytes(size_t max_frame_bytes) { max_frame_bytes_ = max_frame_bytes; }

  // Copies `bytes`.
  void feed(std::span<const uint8_t> bytes);
  // The body of the next whole frame, valid until the next call of feed() or next(); nothing when
  // more bytes are needed. kProtocolError: empty or oversized frame.
  Result<std::optional<std::span<const uint8_t>>> next();
  size_t buffered_bytes() const { return buffer_.size() - begin_; }

 private:
  size_t max_frame_bytes_;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;  // of what has not been returned
};

}  // namespace baton::wire
