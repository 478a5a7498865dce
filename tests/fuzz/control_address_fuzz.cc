// Any text is refused with a printable reason, or is an address that is written as it was read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "src/control/address.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace control = baton::control;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto address = control::parse_address(text);
  if (!address.is_ok()) {
    require(address.code() == baton::StatusCode::kInvalidArgument);
    const std::string& message = address.status().message();
    require(std::none_of(message.begin(), message.end(),
                         [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }));
    return 0;
  }
  require(address->port != 0 && control::is_valid_context_name(address->name));
  const std::string written = control::format_address(*address);
  const auto again = control::parse_address(written);
  require(again.is_ok() && *again == *address && control::format_address(*again) == written);
  return 0;
}
