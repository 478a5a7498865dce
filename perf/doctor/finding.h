// Finding: one line of baton-doctor.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace baton_doctor {

enum class Level : uint8_t {
  kOk,       // usable as it is
  kWarning,  // works, with a limit that may surprise
  kMissing,  // not here; what needs it is not usable
};

struct Finding {
  Level level = Level::kOk;
  std::string what = {};    // "locked memory"
  std::string detail = {};  // what was found
  std::string why = {};     // what it means for Baton; empty when ok says it all
  std::string remedy = {};  // what to do about it; empty: nothing, or nothing needed
};

using Findings = std::vector<Finding>;

std::string_view level_name(Level level);

}  // namespace baton_doctor
