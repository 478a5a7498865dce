// However a stream is cut into pieces, FrameReader finds the frames that a reading of the whole
// finds, fails where that fails, and keeps no more than it was fed. The first byte is the size of
// the pieces, the second the longest frame.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "src/wire/frame.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// What is left of the stream, read at once.
struct Reference {
  std::span<const uint8_t> rest;
  size_t longest;

  // The next frame within the first `fed` bytes of the stream.
  enum class Outcome { kFrame, kMore, kWrong };
  Outcome next(size_t available, std::span<const uint8_t>* frame) {
    if (available < 4) return Outcome::kMore;
    uint32_t length = 0;
    std::memcpy(&length, rest.data(), 4);  // this machine is little endian, as the wire is
    if (length == 0 || length > longest) return Outcome::kWrong;
    if (available - 4 < length) return Outcome::kMore;
    *frame = rest.subspan(4, length);
    rest = rest.subspan(4 + size_t{length});
    return Outcome::kFrame;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t piece = 1 + size_t{data[0]};
  const size_t longest = 1 + size_t{data[1]} * 4;
  const std::span<const uint8_t> stream(data + 2, size - 2);
  baton::wire::FrameReader reader(longest);
  Reference reference{stream, longest};
  for (size_t fed = 0; fed < stream.size();) {
    const size_t length = std::min(piece, stream.size() - fed);
    reader.feed(stream.subspan(fed, length));
    fed += length;
    for (;;) {
      const size_t available = fed - (stream.size() - reference.rest.size());
      require(reader.buffered_bytes() == available);
      std::span<const uint8_t> wanted;
      const auto outcome = reference.next(available, &wanted);
      const auto frame = reader.next();
      require(frame.is_ok() == (outcome != Reference::Outcome::kWrong));
      if (!frame.is_ok()) {
        require(frame.code() == baton::StatusCode::kProtocolError && !reader.next().is_ok());
        return 0;
      }
      require(frame->has_value() == (outcome == Reference::Outcome::kFrame));
      if (!frame->has_value()) break;
      require(std::ranges::equal(**frame, wanted));
    }
  }
  return 0;
}
