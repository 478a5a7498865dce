// What a measurement of a pair found, for scripts and for people.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "perf/lib/histogram.h"
#include "perf/lib/machine.h"
#include "perf/lib/measure.h"
#include "perf/pair/settings.h"

namespace baton_perf {

struct VerifiedSummary {
  Summary summary;
  uint64_t bytes_verified = 0;
};

struct PairResult {
  EndpointSettings endpoint;
  PairSettings settings;
  Machine machine;
  std::string peer_machine_json;
  VerifiedSummary ours;
  std::optional<VerifiedSummary> baseline;
};

// {"p50": .., "p90": .., "p99": .., "p999": .., "max": ..}.
nlohmann::json latency_us_json(const Histogram& latency_ns);
nlohmann::json to_json(const PairResult& result);
// A table, and what it was measured with.
std::string to_text(const PairResult& result);

struct ConnectResult {
  EndpointSettings endpoint;
  Machine machine;
  uint32_t count = 0;
  Histogram latency_ns;
};

nlohmann::json to_json(const ConnectResult& result);
std::string to_text(const ConnectResult& result);

}  // namespace baton_perf
