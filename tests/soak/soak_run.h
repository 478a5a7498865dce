// SoakRun: a soak from its start to its end: the decode side, which lives in this process, and the
// prefill process, which is killed now and then and started again under its name. Now and then a
// second decode process hands over beside this one, and is killed as well; then prefill lives on.
//
// What must hold, or the soak ends at once with what did not: all that SoakDecode says; prefill's
// pages and counter slots are free whenever it is at rest, and none of its requests ended as nobody
// asked for; both processes hold as many descriptors, threads and mappings at the end as after a
// warm-up; no child was left a zombie.
//
// Both are compared in any soak: when what was asked for is through before they are old enough,
// some more hand-offs follow, which nobody cancels or kills.
//
// Thread rule: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>

#include "tests/soak/leak_watch.h"
#include "tests/soak/soak_decode.h"
#include "tests/soak/soak_options.h"
#include "tests/soak/soak_tally.h"
#include "tests/support/child_process.h"

namespace baton_soak {

class SoakRun {
 public:
  explicit SoakRun(const SoakOptions& options);

  // Empty when all held.
  std::string run();
  nlohmann::json summary() const;

 private:
  std::string start_child();
  void aim_kill();
  std::string start_doomed();
  // When it is dead, or at the end of `limit`.
  std::string reap_doomed(std::chrono::milliseconds limit);
  std::string one_round(bool calm);
  // After a round: what it brought about is followed up.
  std::string follow_up();
  // Waits until the child is at rest, and looks at it and at this process.
  std::string check_rest();
  std::string look_at_child(std::string& grown);
  std::string settle();
  std::string check_end();
  bool is_compared() const { return own_watch_.is_compared() && child_watch_->is_compared(); }
  void show_progress(bool is_last);

  SoakOptions options_;
  std::mt19937_64 random_;
  SoakDecode decode_;
  std::optional<baton_test::ChildProcess> child_;
  std::string child_address_;
  std::optional<baton_test::ChildProcess> doomed_;
  uint64_t next_doomed_ = 0;    // when so many hand-offs are through
  uint64_t doomed_rounds_ = 0;  // beside this one
  uint64_t decode_kills_ = 0;
  SoakTally doomed_tally_;
  uint64_t child_born_ = 0;         // hand-offs of this process before it
  uint64_t children_compared_ = 0;  // of those that were killed
  uint64_t kills_ = 0;
  uint64_t rounds_ = 0;
  uint64_t asked_for_ = 0;  // hand-offs through, without those that settle() added
  LeakWatch own_watch_;
  std::optional<LeakWatch> child_watch_;
  int64_t start_ns_ = 0;
  int64_t shown_ns_ = 0;
};

}  // namespace baton_soak
