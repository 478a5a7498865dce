#include "src/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <string>

namespace baton::base {
namespace {

constexpr std::array<std::string_view, 6> kLevelNames = {"trace",   "debug", "info",
                                                         "warning", "error", "off"};

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

}  // namespace

std::string_view log_level_name(LogLevel level) {
  const auto index = static_cast<size_t>(level);
  return index < kLevelNames.size() ? kLevelNames[index] : "unknown";
}

Logger::Logger(LogLevel level, LogCallback callback)
    : level_(level), callback_(std::move(callback)) {
  if (callback_) return;
  // Not registered with spdlog's own registry, which is global.
  standard_error_ =
      std::make_unique<spdlog::logger>("baton", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  standard_error_->set_level(spdlog::level::trace);
  standard_error_->set_pattern("%Y-%m-%dT%H:%M:%S.%f %t %n %l: %v");
  standard_error_->flush_on(spdlog::level::trace);
}

Logger::~Logger() = default;

void Logger::write(LogLevel level, fmt::string_view format, fmt::format_args args) noexcept {
  try {
    const std::string message = fmt::vformat(format, args);
    if (callback_) {
      callback_(level, message);
    } else {
      standard_error_->log(spdlog_level(level), message);
    }
  } catch (...) {
    // Neither the library's thread nor the caller can do anything about a log that fails.
    dropped_.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace baton::base
