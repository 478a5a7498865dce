// What a measurement between two processes is asked to do. The connecting side decides; the
// listening side is told in the first message.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "baton/context.h"
#include "baton/options.h"
#include "baton/status.h"
#include "perf/lib/places.h"
#include "perf/lib/subject.h"

namespace baton_perf {

// How a process of the pair opens its Context.
struct EndpointSettings {
  std::string transport = "tcp";
  std::string bind_host = "127.0.0.1";
  std::string secret_file;
  baton::ProgressMode progress = baton::ProgressMode::kThread;
};

struct PairSettings {
  Operation operation = Operation::kWrite;
  uint64_t run_bytes = 64 << 10;
  uint32_t runs = 64;
  double seconds = 5;  // of each subject, over all rounds
  uint32_t rounds = 5;
  uint32_t in_flight = 1;
  std::string baseline;          // empty: none
  uint64_t footprint_bytes = 0;  // of each buffer; 0: chosen by resolve_footprint
  bool hot = false;
  uint64_t seed = 1;

  Shape shape() const { return {run_bytes, runs, footprint_bytes, seed}; }
  uint64_t batch_bytes() const { return run_bytes * runs; }
};

std::string_view operation_name(Operation operation);
std::string_view progress_mode_name(baton::ProgressMode mode);
// kInvalidArgument: names what is allowed.
baton::Result<Operation> parse_operation(const std::string& name);
baton::Status check_baseline(const std::string& name);
// Among the plug-ins of this machine that reach another process; also kUnavailable with the reason.
baton::Status check_transport(const std::string& name);
// Limits of the numbers; the message names the option, its value and the rule.
baton::Status check_settings(const PairSettings& settings);
// Hot: just what is in flight. Else at least 8 x the last-level cache, and room for twice what is
// in flight, so that no byte of a batch is still in a cache from its last use.
uint64_t resolve_footprint(const PairSettings& settings, uint64_t last_level_cache_bytes);

baton::ContextOptions context_options(const EndpointSettings& endpoint, const std::string& role);

// Offers `memory` to peers under that name.
baton::Result<baton::Section> register_memory(baton::Context& context, const std::string& name,
                                              std::span<uint8_t> memory);

nlohmann::json to_json(const PairSettings& settings);
// kInvalidArgument: the message of a peer that lacks a field, or whose field has another type.
baton::Result<PairSettings> settings_from_json(const nlohmann::json& json);

}  // namespace baton_perf
