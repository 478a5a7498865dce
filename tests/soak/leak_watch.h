// LeakWatch: compares what a long-lived process holds after some hand-offs with what it held after
// its first ones, and knows whether that was done.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tests/soak/process_numbers.h"

namespace baton_soak {

class LeakWatch {
 public:
  // Numbers count from `warm_up` hand-offs on.
  explicit LeakWatch(uint64_t warm_up) : warm_up_(warm_up) {}

  // Numbers of the process while nothing is under way, after `hand_offs` of its life. What grew, or
  // "". What is given back a moment later is no leak: look again.
  std::string look(const ProcessNumbers& numbers, uint64_t hand_offs);

  // There were hand-offs enough between the first numbers and the last for a leak of one
  // descriptor, thread or slot in each to show.
  bool is_compared() const;
  // What it holds may have changed for good: the numbers to come are the first ones.
  void restart() { first_.reset(); }

  nlohmann::json to_json() const;

 private:
  uint64_t warm_up_;
  std::optional<ProcessNumbers> first_;
  ProcessNumbers last_;
  uint64_t first_hand_offs_ = 0;
  uint64_t last_hand_offs_ = 0;
};

}  // namespace baton_soak
