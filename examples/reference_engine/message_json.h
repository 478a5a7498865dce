// JSON texts of the engine's messages: how they are written and read. For the files that encode
// them; the library that it includes is a big one.
//
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "baton/status.h"

namespace baton_engine {

inline std::vector<uint8_t> bytes_of(const nlohmann::json& value) {
  // A message of the library may name a file whose name is not UTF-8.
  const std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return {text.begin(), text.end()};
}

inline nlohmann::json status_json(const baton::Status& status) {
  return {{"code", static_cast<uint32_t>(status.code())}, {"message", status.message()}};
}

inline baton::Status status_from(const nlohmann::json& value) {
  const auto code = value.at("code").get<uint32_t>();
  if (code == 0) return baton::Status::ok();
  if (code > static_cast<uint32_t>(baton::StatusCode::kInternal)) {
    return {baton::StatusCode::kProtocolError, "status code " + std::to_string(code) + " is none"};
  }
  return {static_cast<baton::StatusCode>(code), value.at("message").get<std::string>()};
}

// No message has one, and a number of any size would be turned into an integer unchecked.
inline bool has_fraction(const nlohmann::json& value) {
  return value.is_number_float() ||
         (value.is_structured() && std::any_of(value.begin(), value.end(), has_fraction));
}

// read(json) -> T or Result<T>. The library throws on a wrong text; this is where that ends.
template <typename T, typename Read>
baton::Result<T> parse_message(const char* what, std::span<const uint8_t> bytes, Read read) {
  try {
    const nlohmann::json value = nlohmann::json::parse(bytes.begin(), bytes.end());
    if (has_fraction(value)) {
      return baton::Status(baton::StatusCode::kProtocolError,
                           std::string(what) + ": a number that is no integer");
    }
    return read(value);
  } catch (const nlohmann::json::exception& error) {
    return baton::Status(baton::StatusCode::kProtocolError,
                         std::string(what) + ": " + error.what());
  }
}

}  // namespace baton_engine
