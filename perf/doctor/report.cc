#include "perf/doctor/report.h"

#include <nlohmann/json.hpp>

#include "baton/version.h"

namespace baton_doctor {

std::string to_text(const Findings& findings, bool transport_usable) {
  std::string text;
  for (const Finding& finding : findings) {
    std::string level(level_name(finding.level));
    level.resize(8, ' ');
    text += level + finding.what + ": " + finding.detail + "\n";
    if (!finding.why.empty()) text += "          why: " + finding.why + "\n";
    if (!finding.remedy.empty()) text += "          do:  " + finding.remedy + "\n";
  }
  text += transport_usable ? "\nBaton can be used here.\n"
                           : "\nBaton cannot reach another process here: no transport is usable.\n";
  return text;
}

nlohmann::json to_json(const Findings& findings, const std::vector<baton::PluginReport>& reports,
                       bool transport_usable) {
  nlohmann::json json = {{"version", std::string(baton::version())}, {"usable", transport_usable}};
  json["transports"] = nlohmann::json::array();
  for (const baton::PluginReport& report : reports) {
    json["transports"].push_back({{"name", report.name},
                                  {"summary", report.summary},
                                  {"usable", report.usable},
                                  {"in_process", report.in_process},
                                  {"reason", report.reason},
                                  {"remedy", report.remedy},
                                  {"capabilities", report.capabilities}});
  }
  json["findings"] = nlohmann::json::array();
  for (const Finding& finding : findings) {
    json["findings"].push_back({{"level", std::string(level_name(finding.level))},
                                {"what", finding.what},
                                {"detail", finding.detail},
                                {"why", finding.why},
                                {"remedy", finding.remedy}});
  }
  return json;
}

}  // namespace baton_doctor
