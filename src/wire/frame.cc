#include "src/wire/frame.h"

#include <cstring>
#include <string>

#include "src/wire/messages.h"

namespace baton::wire {

namespace {

// A buffer that grew for one big message is given back when it is empty again.
constexpr size_t kKeepBytes = size_t{256} << 10;

}  // namespace

void FrameReader::feed(std::span<const uint8_t> bytes) {
  if (begin_ == buffer_.size()) {
    buffer_.clear();
    begin_ = 0;
    if (buffer_.capacity() > kKeepBytes) buffer_.shrink_to_fit();
  } else if (begin_ > buffer_.size() / 2) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(begin_));
    begin_ = 0;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<std::span<const uint8_t>>> FrameReader::next() {
  if (buffered_bytes() < kFramePrefixBytes) return std::optional<std::span<const uint8_t>>();
  const uint8_t* at = buffer_.data() + begin_;
  const size_t length =
      size_t{at[0]} | size_t{at[1]} << 8 | size_t{at[2]} << 16 | size_t{at[3]} << 24;
  if (length == 0 || length > max_frame_bytes_) {
    return Status(StatusCode::kProtocolError,
                  "frame of " + std::to_string(length) + " bytes; 1 to " +
                      std::to_string(max_frame_bytes_) + " are allowed here");
  }
  if (buffered_bytes() - kFramePrefixBytes < length) {
    return std::optional<std::span<const uint8_t>>();
  }
  begin_ += kFramePrefixBytes + length;
  return std::optional(std::span<const uint8_t>(at + kFramePrefixBytes, length));
}

}  // namespace baton::wire
