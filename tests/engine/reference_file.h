// The committed JSON that make_reference.py writes, and the model file that it was made from.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace baton_test {

inline nlohmann::json read_reference(const std::string& name) {
  std::ifstream file(std::string(BATON_ENGINE_REFERENCE_FOLDER) + "/" + name);
  return nlohmann::json::parse(file);
}

// BATON_MODEL_FILE of CMake. A test without it skips, with missing_model() as its message.
inline bool has_model_file() { return std::ifstream(BATON_MODEL_FILE).good(); }
inline std::string missing_model() {
  return std::string("NOT TESTED with the real model: ") + BATON_MODEL_FILE +
         " is missing. Type: examples/reference_engine/fetch_model, or configure with "
         "-DBATON_MODEL_FILE=FILE.gguf";
}

}  // namespace baton_test
