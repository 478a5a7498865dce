#include "perf/pair/result.h"

#include <nlohmann/json.hpp>

#include "baton/version.h"
#include "perf/lib/size.h"
#include "perf/lib/table.h"

namespace baton_perf {
namespace {

double us(uint64_t ns) { return static_cast<double>(ns) / 1e3; }

nlohmann::json common_json(const EndpointSettings& endpoint, const Machine& machine) {
  return {{"version", std::string(baton::version())},
          {"time", utc_timestamp()},
          {"machine", to_json(machine)},
          {"settings",
           {{"transport", endpoint.transport},
            {"progress", progress_mode_name(endpoint.progress)},
            {"authenticated", !endpoint.secret_file.empty()}}}};
}

nlohmann::json summary_json(const VerifiedSummary& of) {
  const Summary& summary = of.summary;
  return {{"gb_per_s", summary.gb_per_s},
          {"runs_per_s", summary.runs_per_s},
          {"latency_us", latency_us_json(summary.latency_ns)},
          {"cpu_s_per_gb",
           {{"local", summary.cpu_s_per_gb_local}, {"remote", summary.cpu_s_per_gb_remote}}},
          {"batches", summary.batches},
          {"rounds_gb_per_s", summary.rounds_gb_per_s},
          {"bytes_verified", of.bytes_verified}};
}

double ratio_at(const PairResult& result, double percent) {
  const auto ours = static_cast<double>(result.ours.summary.latency_ns.percentile(percent));
  return ours / static_cast<double>(result.baseline->summary.latency_ns.percentile(percent));
}

double throughput_ratio(const PairResult& result) {
  return result.ours.summary.gb_per_s / result.baseline->summary.gb_per_s;
}

std::string machine_text(const Machine& machine) {
  return machine.cpu_model + (machine.hypervisor ? " (virtual machine), " : ", ") +
         std::to_string(machine.cpus) + " CPUs, " + format_size(machine.last_level_cache_bytes) +
         " last-level cache, " + machine.kernel;
}

void add_row(Table& table, const VerifiedSummary& of) {
  const Summary& summary = of.summary;
  std::vector<std::string> cells = {summary.name, fixed(summary.gb_per_s, 3),
                                    fixed(summary.runs_per_s, 0)};
  for (const double percent : {50.0, 90.0, 99.0, 99.9, 100.0}) {
    cells.push_back(fixed(us(summary.latency_ns.percentile(percent)), 1));
  }
  cells.push_back(fixed(summary.cpu_s_per_gb_local, 3));
  cells.push_back(fixed(summary.cpu_s_per_gb_remote, 3));
  cells.push_back(format_size(of.bytes_verified));
  table.add_row(std::move(cells));
}

}  // namespace

nlohmann::json latency_us_json(const Histogram& latency_ns) {
  return {{"p50", us(latency_ns.percentile(50))},
          {"p90", us(latency_ns.percentile(90))},
          {"p99", us(latency_ns.percentile(99))},
          {"p999", us(latency_ns.percentile(99.9))},
          {"max", us(latency_ns.max())}};
}

nlohmann::json to_json(const PairResult& result) {
  nlohmann::json json = summary_json(result.ours);
  json.update(common_json(result.endpoint, result.machine));
  json["settings"].update(to_json(result.settings));
  json["peer_machine"] =
      nlohmann::json::parse(result.peer_machine_json, nullptr, /*allow_exceptions=*/false);
  if (!result.baseline) return json;
  json["baseline"] = summary_json(*result.baseline);
  json["baseline"]["name"] = result.baseline->summary.name;
  json["ratio"] = throughput_ratio(result);
  json["latency_ratio"] = {{"p50", ratio_at(result, 50)}, {"p99", ratio_at(result, 99)}};
  return json;
}

std::string to_text(const PairResult& result) {
  const PairSettings& settings = result.settings;
  std::string text =
      result.endpoint.transport + " " + std::string(operation_name(settings.operation)) + ", " +
      std::to_string(settings.runs) + " runs of " + format_size(settings.run_bytes) +
      " a batch at random places of " + format_size(settings.footprint_bytes) + ", " +
      std::to_string(settings.in_flight) + " in flight, " + std::to_string(settings.rounds) +
      " rounds of " + fixed(settings.seconds / settings.rounds, 2) + " s each, medians\n" +
      machine_text(result.machine) + "\n\n";
  Table table({"", "GB/s", "runs/s", "batch p50 us", "p90", "p99", "p99.9", "max", "CPU s/GB local",
               "remote", "verified"});
  add_row(table, result.ours);
  if (result.baseline) add_row(table, *result.baseline);
  text += table.render();
  if (result.baseline) {
    text += "\nratio to " + result.baseline->summary.name + ": throughput " +
            fixed(throughput_ratio(result), 3) + ", latency p50 " + fixed(ratio_at(result, 50), 3) +
            ", p99 " + fixed(ratio_at(result, 99), 3) + "\n";
  }
  return text;
}

nlohmann::json to_json(const ConnectResult& result) {
  nlohmann::json json = common_json(result.endpoint, result.machine);
  json["settings"]["count"] = result.count;
  json["latency_us"] = latency_us_json(result.latency_ns);
  return json;
}

std::string to_text(const ConnectResult& result) {
  Table table({"", "count", "p50 us", "p90", "p99", "max"});
  table.add_row({"connect, sections known", std::to_string(result.count),
                 fixed(us(result.latency_ns.percentile(50)), 1),
                 fixed(us(result.latency_ns.percentile(90)), 1),
                 fixed(us(result.latency_ns.percentile(99)), 1),
                 fixed(us(result.latency_ns.max()), 1)});
  return machine_text(result.machine) + "\n\n" + table.render();
}

}  // namespace baton_perf
