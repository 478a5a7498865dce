// Any bytes are refused as a protocol error, or are a message within the limits that encodes to one
// that reads the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "src/wire/messages.h"
#include "src/wire/validate.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace wire = baton::wire;
  const auto message = wire::decode(std::span(data, size));
  if (!message.is_ok()) {
    require(message.code() == baton::StatusCode::kProtocolError);
    return 0;
  }
  require(wire::validate(*message).is_ok());
  const auto frame = wire::encode(*message);
  require(frame.is_ok());
  const auto again = wire::decode(std::span(*frame).subspan(wire::kFramePrefixBytes));
  require(again.is_ok() && *again == *message);
  return 0;
}
