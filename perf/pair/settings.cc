#include "perf/pair/settings.h"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "baton/doctor.h"
#include "perf/lib/size.h"

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint64_t kMaxRunBytes = uint64_t{1} << 30;
constexpr uint32_t kMaxRuns = 1u << 16;
constexpr uint32_t kMaxInFlight = 1024;
constexpr uint32_t kMaxRounds = 1000;
constexpr double kMaxSeconds = 86400;
constexpr uint64_t kMaxFootprintBytes = uint64_t{1} << 40;
// Without a readable cache size: more than any last-level cache of today's servers holds.
constexpr uint64_t kUnknownCacheBytes = uint64_t{128} << 20;

Status outside(const std::string& option, const std::string& value, const std::string& rule) {
  return {StatusCode::kInvalidArgument, option + " " + value + " is not allowed: " + rule};
}

// Throws what the library throws when it is no whole number from 0 on; one too large for T becomes
// the largest, which check_settings() refuses.
template <typename T>
void read_integer(const nlohmann::json& value, T& out) {
  const uint64_t number = value.get_ref<const nlohmann::json::number_unsigned_t&>();
  out = static_cast<T>(std::min<uint64_t>(number, std::numeric_limits<T>::max()));
}

}  // namespace

std::string_view operation_name(Operation operation) {
  return operation == Operation::kWrite ? "write" : "read";
}

std::string_view progress_mode_name(baton::ProgressMode mode) {
  return mode == baton::ProgressMode::kThread ? "thread" : "caller";
}

Result<Operation> parse_operation(const std::string& name) {
  if (name == "write") return Operation::kWrite;
  if (name == "read") return Operation::kRead;
  return {StatusCode::kInvalidArgument, "unknown operation \"" + name + "\": write or read"};
}

Status check_baseline(const std::string& name) {
  if (name.empty() || name == "tcp" || name == "tcp-tuned") return Status::ok();
  return {StatusCode::kInvalidArgument, "unknown baseline \"" + name + "\": tcp, tcp-tuned"};
}

Status check_transport(const std::string& name) {
  std::string allowed;
  for (const baton::PluginReport& report : baton::inspect_plugins(baton::ContextOptions())) {
    if (!report.usable && report.name == name) {
      return {StatusCode::kUnavailable, "transport \"" + name + "\" is not usable here: " +
                                            report.reason + "; " + report.remedy};
    }
    if (!report.usable || report.in_process) continue;
    if (report.name == name) return Status::ok();
    allowed += allowed.empty() ? report.name : ", " + report.name;
  }
  return {StatusCode::kInvalidArgument, "unknown transport \"" + name + "\": " + allowed};
}

Status check_settings(const PairSettings& settings) {
  if (settings.run_bytes == 0 || settings.run_bytes > kMaxRunBytes) {
    return outside("--run-bytes", std::to_string(settings.run_bytes),
                   "1 to " + format_size(kMaxRunBytes));
  }
  if (settings.runs == 0 || settings.runs > kMaxRuns) {
    return outside("--runs", std::to_string(settings.runs), "1 to " + std::to_string(kMaxRuns));
  }
  if (settings.in_flight == 0 || settings.in_flight > kMaxInFlight) {
    return outside("--in-flight", std::to_string(settings.in_flight),
                   "1 to " + std::to_string(kMaxInFlight));
  }
  if (settings.rounds == 0 || settings.rounds > kMaxRounds) {
    return outside("--rounds", std::to_string(settings.rounds),
                   "1 to " + std::to_string(kMaxRounds));
  }
  // Written so that NaN fails.
  if (!(settings.seconds >= 0 && settings.seconds <= kMaxSeconds)) {
    return outside("--seconds", std::to_string(settings.seconds), "0 to 86400");
  }
  if (settings.footprint_bytes > kMaxFootprintBytes) {
    return outside("--footprint-bytes", std::to_string(settings.footprint_bytes),
                   "at most " + format_size(kMaxFootprintBytes));
  }
  const uint64_t in_flight_bytes = settings.batch_bytes() * settings.in_flight;
  if (settings.footprint_bytes != 0 && settings.footprint_bytes < in_flight_bytes) {
    return outside("--footprint-bytes", std::to_string(settings.footprint_bytes),
                   "the batches in flight alone are " + format_size(in_flight_bytes));
  }
  return Status::ok();
}

uint64_t resolve_footprint(const PairSettings& settings, uint64_t last_level_cache_bytes) {
  if (settings.footprint_bytes != 0) return settings.footprint_bytes;
  const uint64_t in_flight_bytes = settings.batch_bytes() * settings.in_flight;
  if (settings.hot) return in_flight_bytes;
  const uint64_t cache = last_level_cache_bytes == 0 ? kUnknownCacheBytes : last_level_cache_bytes;
  return std::max(8 * cache, 2 * in_flight_bytes);
}

baton::ContextOptions context_options(const EndpointSettings& endpoint, const std::string& role) {
  baton::ContextOptions options;
  options.name = "baton-perf-" + role + "-" + std::to_string(::getpid());
  options.bind_host = endpoint.bind_host;
  options.secret_file = endpoint.secret_file;
  options.progress = endpoint.progress;
  // Connections end on purpose here, and what fails is in the status that the tool reports.
  options.log_level = baton::LogLevel::kError;
  options.rails.front().plugin = endpoint.transport;
  return options;
}

Result<baton::Section> register_memory(baton::Context& context, const std::string& name,
                                       std::span<uint8_t> memory) {
  baton::SectionOptions options;
  options.name = name;
  options.address = memory.data();
  options.length_bytes = memory.size();
  return context.register_section(std::move(options));
}

nlohmann::json to_json(const PairSettings& settings) {
  return {{"op", operation_name(settings.operation)},
          {"run_bytes", settings.run_bytes},
          {"runs", settings.runs},
          {"seconds", settings.seconds},
          {"rounds", settings.rounds},
          {"in_flight", settings.in_flight},
          {"baseline", settings.baseline},
          {"footprint_bytes", settings.footprint_bytes},
          {"hot", settings.hot},
          {"seed", settings.seed}};
}

Result<PairSettings> settings_from_json(const nlohmann::json& json) {
  PairSettings settings;
  try {
    const Result<Operation> operation = parse_operation(json.at("op").get<std::string>());
    if (!operation.is_ok()) return operation.status();
    settings.operation = *operation;
    read_integer(json.at("run_bytes"), settings.run_bytes);
    read_integer(json.at("runs"), settings.runs);
    json.at("seconds").get_to(settings.seconds);
    read_integer(json.at("rounds"), settings.rounds);
    read_integer(json.at("in_flight"), settings.in_flight);
    json.at("baseline").get_to(settings.baseline);
    read_integer(json.at("footprint_bytes"), settings.footprint_bytes);
    json.at("hot").get_to(settings.hot);
    read_integer(json.at("seed"), settings.seed);
  } catch (const nlohmann::json::exception& error) {
    return {StatusCode::kInvalidArgument,
            std::string("settings of the peer cannot be read: ") + error.what()};
  }
  Status status = check_settings(settings);
  if (status.is_ok()) status = check_baseline(settings.baseline);
  if (!status.is_ok()) return status;
  return settings;
}

}  // namespace baton_perf
