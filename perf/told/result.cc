#include "perf/told/result.h"

#include <nlohmann/json.hpp>

#include "baton/version.h"
#include "perf/lib/table.h"

namespace baton_perf {
namespace {

double ms(uint64_t ns) { return static_cast<double>(ns) / 1e6; }

bool is_within(const Histogram& times_ns, uint32_t bar_ms) {
  return times_ns.max() <= uint64_t{bar_ms} * 1'000'000;
}

nlohmann::json times_json(const Histogram& times_ns) {
  return {{"count", times_ns.count()},
          {"p50_ms", times_ns.count() == 0 ? 0.0 : ms(times_ns.percentile(50))},
          {"p90_ms", times_ns.count() == 0 ? 0.0 : ms(times_ns.percentile(90))},
          {"max_ms", ms(times_ns.max())}};
}

void add_row(Table& table, const std::string& name, const Histogram& times_ns,
             const std::string& bar) {
  if (times_ns.count() == 0) return;
  table.add_row({name, std::to_string(times_ns.count()), fixed(ms(times_ns.percentile(50)), 2),
                 fixed(ms(times_ns.percentile(90)), 2), fixed(ms(times_ns.max()), 2), bar});
}

}  // namespace

bool ToldResult::holds() const {
  return is_within(killed_ns, settings.kill_bar_ms) &&
         is_within(after_deadline_ns, settings.stop_bar_ms);
}

nlohmann::json to_json(const ToldResult& result) {
  return {{"version", std::string(baton::version())},
          {"time", utc_timestamp()},
          {"machine", to_json(result.machine)},
          {"settings",
           {{"transport", "tcp"},
            {"deadline_ms", result.settings.deadline_ms},
            {"kill_bar_ms", result.settings.kill_bar_ms},
            {"stop_bar_ms", result.settings.stop_bar_ms},
            {"seed", result.settings.seed}}},
          {"killed", times_json(result.killed_ns)},
          {"stopped", times_json(result.stopped_ns)},
          {"stopped_after_deadline", times_json(result.after_deadline_ns)},
          {"holds", result.holds()}};
}

std::string to_text(const ToldResult& result) {
  Table table({"time to told, ms", "strikes", "p50", "p90", "max", "bar"});
  add_row(table, "peer killed", result.killed_ns, std::to_string(result.settings.kill_bar_ms));
  add_row(table, "peer stopped", result.stopped_ns, "");
  add_row(table, "  of that after the deadline", result.after_deadline_ns,
          std::to_string(result.settings.stop_bar_ms));
  const Machine& machine = result.machine;
  return table.render() + machine.cpu_model + (machine.hypervisor ? " (virtual machine), " : ", ") +
         std::to_string(machine.cpus) + " CPUs, " + machine.kernel + "\n";
}

}  // namespace baton_perf
