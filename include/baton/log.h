// Log levels and the log callback.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace baton {

// A message is written when its level is at least that of the Context.
enum class LogLevel : uint8_t {
  kTrace = 0,
  kDebug = 1,
  kInfo = 2,
  kWarning = 3,
  kError = 4,
  kOff = 5,  // of a Context only: nothing is written
};

// Called with one line without a line break; `message` lives for the call only.
//
// Thread rule: called from any thread, the library's own included, and from several at once: it is
// thread-safe. It may take time (the data path does not log), MUST NOT call into the Context that
// it belongs to, and what it throws is dropped with the message.
using LogCallback = std::function<void(LogLevel level, std::string_view message)>;

}  // namespace baton
