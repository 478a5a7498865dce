#include "tests/engine_program/tool.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace baton_test {

const std::string kEngine = BATON_ENGINE_PATH;
const std::string kPrompt =
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age "
    "of foolishness, it was the epoch of belief, it was the epoch of incredulity.";

std::vector<std::string> run_arguments(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"run", "--model", "tiny:7", "--prompt", kPrompt, "--quiet"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Finished run_engine_tool(const std::vector<std::string>& arguments) {
  return run_command(kEngine, arguments);
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

nlohmann::json read_json(const std::string& path) {
  auto value = nlohmann::json::parse(read_text(path), nullptr, false);
  EXPECT_FALSE(value.is_discarded()) << path;
  return value;
}

}  // namespace baton_test
