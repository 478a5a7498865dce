// Logger: where the messages of one Context go. Each Context has its own; there is no global one.
//
// Thread rule: every function from any thread.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "baton/log.h"

namespace spdlog {
class logger;
}

namespace baton::base {

// "warning" and so on; "unknown" for a value outside the enum.
std::string_view log_level_name(LogLevel level);

class Logger {
 public:
  // To `callback`, or, when it is empty, to standard error with time, thread and level.
  explicit Logger(LogLevel level, LogCallback callback = nullptr);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  // Relaxed: the level guards nothing but itself.
  LogLevel level() const { return level_.load(std::memory_order_relaxed); }
  void set_level(LogLevel level) { level_.store(level, std::memory_order_relaxed); }
  bool is_on(LogLevel level) const { return level >= this->level() && level < LogLevel::kOff; }

  // One load and one comparison when the level is off; otherwise formats (allocates) and writes.
  // Never throws: a message whose formatting or callback throws is counted in dropped().
  template <typename... Args>
  void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) noexcept {
    if (is_on(level)) write(level, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void trace(fmt::format_string<Args...> format, Args&&... args) noexcept {
    if (is_on(LogLevel::kTrace)) write(LogLevel::kTrace, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) noexcept {
    if (is_on(LogLevel::kDebug)) write(LogLevel::kDebug, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) noexcept {
    if (is_on(LogLevel::kInfo)) write(LogLevel::kInfo, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) noexcept {
    if (is_on(LogLevel::kWarning)) {
      write(LogLevel::kWarning, format, fmt::make_format_args(args...));
    }
  }
  template <typename... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) noexcept {
    if (is_on(LogLevel::kError)) write(LogLevel::kError, format, fmt::make_format_args(args...));
  }

  // Messages lost to an exception of the formatter, the callback or the sink.
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  void write(LogLevel level, fmt::string_view format, fmt::format_args args) noexcept;

  std::atomic<LogLevel> level_;
  std::atomic<uint64_t> dropped_{0};
  const LogCallback callback_;
  std::unique_ptr<spdlog::logger> standard_error_;
};

}  // namespace baton::base
