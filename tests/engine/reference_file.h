// The committed JSON that make_reference.py writes, and the model file that it was made from.
#pragma once

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace baton_test {

inline nlohmann::json read_reference(const std::string& name) {
  std::ifstream file(std::string(BATON_ENGINE_REFERENCE_FOLDER) + "/" + name);
  return nlohmann::json::parse(file);
}

// BATON_MODEL_FILE of CMake; says loudly when there is no such file.
inline bool has_model_file() {
  if (std::ifstream(BATON_MODEL_FILE).good()) return true;
  std::cout << "NOT TESTED with the real model: " << BATON_MODEL_FILE
            << " is missing; run examples/reference_engine/fetch_model\n";
  return false;
}

}  // namespace baton_test
