// The one place that reads the environment. All else is an option (ContextOptions).
#pragma once

#include <optional>

#include "baton/log.h"

namespace baton::base {

// BATON_LOG_LEVEL: trace, debug, info, warning, error or off; lets an operator raise the log level
// of a program that they cannot change. Nothing when unset or not one of these.
//
// Thread rule: as getenv: not while another thread changes the environment.
std::optional<LogLevel> log_level_from_environment();

}  // namespace baton::base
