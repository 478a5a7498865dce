// What the tests of every phase share: how far a hand-off has come when a child process is killed
// or frozen, and what is counted over all of them.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <tuple>

#include "tests/integration/process_rig.h"
#include "tests/support/child_process.h"

namespace baton_test {

// How far the hand-off has come when the child's fate comes.
enum class Phase {
  kKnown,    // the peers know each other
  kOffered,  // the Grant or ReadGrant is made
  kStarted,  // it is taken up, and nothing is final
  kMiddle,   // the first layer has arrived, the last is not final, the rest is under way
  kSealed,   // everything is final; what has arrived is anybody's guess
  kEnded,    // both have their verdict
};
enum class Fate { kFrozen, kKilled };

// Time enough to lead to the phase, also under a sanitizer on a busy machine.
inline constexpr uint32_t kDeadlineMs = 4000;
inline constexpr uint32_t kLongDeadlineMs = 30000;
inline constexpr int64_t kSlackMs = 8000;  // for a busy machine, on top of what is promised

// With one, two_process_test.cc and pull_process_test.cc do the same in fewer phases.
inline constexpr uint32_t kPaths = 4;

inline baton::ContextOptions parent_options(const std::string& name) {
  baton::ContextOptions options = process_options(name);
  options.rails[0].paths = kPaths;
  return options;
}

inline ChildProcess start_child(const std::string& role) {
  return ChildProcess::self({"--role=" + role, "--paths=" + std::to_string(kPaths)});
}

inline uint64_t checked_bytes = 0;
inline uint64_t foreign_bytes = 0;

class EveryPhase : public testing::TestWithParam<std::tuple<Phase, Fate, By>> {
 public:
  static std::string name_of(const testing::TestParamInfo<ParamType>& info) {
    static const char* const phases[] = {"Known",  "Offered", "Started",
                                         "Middle", "Sealed",  "Ended"};
    return std::string(std::get<1>(info.param) == Fate::kFrozen ? "Frozen" : "Killed") +
           phases[static_cast<size_t>(std::get<0>(info.param))];
  }

 protected:
  static Phase phase() { return std::get<0>(GetParam()); }
  static bool is_frozen() { return std::get<1>(GetParam()) == Fate::kFrozen; }
  static bool is_pulled() { return std::get<2>(GetParam()) == By::kPull; }
  static uint32_t deadline_ms() { return is_frozen() ? kDeadlineMs : kLongDeadlineMs; }

  void strike(ChildProcess& child) {
    if (is_frozen()) {
      child.stop();
    } else {
      child.kill();
    }
    struck_at_ = std::chrono::steady_clock::now();
  }
  void expect_in_time() const {
    EXPECT_LT(since_ms(struck_at_), (is_frozen() ? kDeadlineMs : 0) + 2000 + kSlackMs);
  }

 private:
  std::chrono::steady_clock::time_point struck_at_;
};

}  // namespace baton_test
