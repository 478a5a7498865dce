#include "perf/doctor/checks.h"

#include <algorithm>

namespace baton_doctor {

std::string_view level_name(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kWarning:
      return "warn";
    case Level::kMissing:
      return "missing";
  }
  return "unknown";
}

Finding check_plugin(const baton::PluginReport& report) {
  Finding finding{.what = "transport " + report.name, .detail = report.summary};
  if (report.usable) {
    std::string all;
    for (const std::string& text : report.capabilities) all += (all.empty() ? "" : "; ") + text;
    finding.detail += " (" + all + ")";
    return finding;
  }
  finding.level = Level::kMissing;
  finding.why = report.reason;
  finding.remedy = report.remedy;
  return finding;
}

Findings check_machine() {
  const Root root;
  return {
      check_cpus(),        check_topology(),        check_kernel(),           check_locked_memory(),
      check_open_files(),  check_huge_pages(root),  check_rdma_devices(root), check_gpus(root),
      check_cuda_driver(), check_cuda_toolkit(root)};
}

bool any_transport(const std::vector<baton::PluginReport>& reports) {
  return std::any_of(reports.begin(), reports.end(), [](const baton::PluginReport& report) {
    return report.usable && !report.in_process;
  });
}

}  // namespace baton_doctor
