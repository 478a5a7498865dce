#include "src/base/environment.h"

#include <cstdlib>

#include "src/base/log.h"

namespace baton::base {

std::optional<LogLevel> log_level_from_environment() {
  const char* text = std::getenv("BATON_LOG_LEVEL");
  if (text == nullptr) return std::nullopt;
  return parse_log_level(text);
}

}  // namespace baton::base
