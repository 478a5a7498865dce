// baton-engine as a second process, with a prompt that is long enough for several chunks.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/command.h"

namespace baton_test {

extern const std::string kEngine;
extern const std::string kPrompt;

// `run --model tiny:7 --prompt kPrompt --quiet` and more.
std::vector<std::string> run_arguments(const std::vector<std::string>& more);
Finished run_engine_tool(const std::vector<std::string>& arguments);
// The file's JSON; a discarded value, and a failed test, when it is none.
nlohmann::json read_json(const std::string& path);
std::string read_text(const std::string& path);

}  // namespace baton_test
