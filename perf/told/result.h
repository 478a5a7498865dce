// What a measurement of the time to told found, for scripts and for people.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "perf/lib/histogram.h"
#include "perf/lib/machine.h"

namespace baton_perf {

struct ToldSettings {
  uint32_t kills = 100;
  uint32_t stops = 100;
  uint32_t deadline_ms = 500;  // of the Grants whose peer is stopped
  uint32_t kill_bar_ms = 100;
  uint32_t stop_bar_ms = 2000;  // after the deadline
  uint64_t seed = 1;
};

struct ToldResult {
  ToldSettings settings;
  Machine machine;
  // From the strike to the return of the last wait.
  Histogram killed_ns;
  Histogram stopped_ns;
  // Of the stopped ones: from the deadline on; 0 where all had ended before.
  Histogram after_deadline_ns;

  bool holds() const;
};

nlohmann::json to_json(const ToldResult& result);
std::string to_text(const ToldResult& result);

}  // namespace baton_perf
