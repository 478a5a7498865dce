// What baton-doctor writes.
//
// Thread rule: pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "baton/doctor.h"
#include "perf/doctor/finding.h"

namespace baton_doctor {

// One line a finding, its reason and remedy indented below it, and a verdict at the end.
std::string to_text(const Findings& findings, bool transport_usable);
// {"usable": .., "transports": [..], "findings": [..]}.
nlohmann::json to_json(const Findings& findings, const std::vector<baton::PluginReport>& reports,
                       bool transport_usable);

}  // namespace baton_doctor
