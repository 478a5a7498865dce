#include "src/base/log.h"

#include <gtest/gtest.h>

#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace baton::base {
namespace {

using Lines = std::vector<std::pair<LogLevel, std::string>>;

LogCallback append_to(Lines& lines) {
  return [&lines](LogLevel level, std::string_view message) { lines.emplace_back(level, message); };
}

TEST(LogTest, CallbackGetsFormattedLinesFromItsLevelOn) {
  Lines lines;
  Logger logger(LogLevel::kWarning, append_to(lines));
  logger.info("rail {}", 1);
  logger.warning("rail {} ({}): {} bytes", 2, "tcp", 17);
  logger.error("peer {} is lost", "decode-0");
  logger.log(LogLevel::kOff, "off is no level of a message");
  EXPECT_EQ(lines, (Lines{{LogLevel::kWarning, "rail 2 (tcp): 17 bytes"},
                          {LogLevel::kError, "peer decode-0 is lost"}}));
}

TEST(LogTest, LevelCanChange) {
  Lines lines;
  Logger logger(LogLevel::kOff, append_to(lines));
  logger.error("unheard");
  EXPECT_FALSE(logger.is_on(LogLevel::kError));
  logger.set_level(LogLevel::kTrace);
  EXPECT_EQ(logger.level(), LogLevel::kTrace);
  logger.trace("a");
  logger.debug("b");
  logger.info("c");
  EXPECT_EQ(lines,
            (Lines{{LogLevel::kTrace, "a"}, {LogLevel::kDebug, "b"}, {LogLevel::kInfo, "c"}}));
}

TEST(LogTest, WhatTheCallbackThrowsIsDroppedAndCounted) {
  Logger logger(LogLevel::kInfo,
                [](LogLevel, std::string_view) { throw std::runtime_error("full disk"); });
  logger.info("one");
  logger.info("two");
  EXPECT_EQ(logger.dropped(), 2u);
}

TEST(LogTest, DefaultGoesToStandardError) {
  testing::internal::CaptureStderr();
  {
    Logger logger(LogLevel::kInfo);
    logger.debug("quiet");
    logger.info("listening on {}", "127.0.0.1:4711");
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("quiet"), std::string::npos);
  EXPECT_NE(text.find("baton info: listening on 127.0.0.1:4711\n"), std::string::npos) << text;
}

TEST(LogTest, ThreadsLogSideBySide) {
  constexpr int kPerThread = 500;
  std::mutex mutex;
  size_t lines = 0;
  Logger logger(LogLevel::kInfo, [&](LogLevel, std::string_view) {
    const std::lock_guard lock(mutex);
    ++lines;
  });
  const auto work = [&logger] {
    for (int i = 0; i < kPerThread; ++i) logger.info("line {}", i);
  };
  std::thread first(work);
  std::thread second(work);
  first.join();
  second.join();
  EXPECT_EQ(lines, 2u * kPerThread);
}

TEST(LogTest, LevelsHaveNames) {
  EXPECT_EQ(log_level_name(LogLevel::kTrace), "trace");
  EXPECT_EQ(log_level_name(LogLevel::kDebug), "debug");
  EXPECT_EQ(log_level_name(LogLevel::kInfo), "info");
  EXPECT_EQ(log_level_name(LogLevel::kWarning), "warning");
  EXPECT_EQ(log_level_name(LogLevel::kError), "error");
  EXPECT_EQ(log_level_name(LogLevel::kOff), "off");
  EXPECT_EQ(log_level_name(static_cast<LogLevel>(77)), "unknown");
}

}  // namespace
}  // namespace baton::base
