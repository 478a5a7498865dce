#include "tests/soak/soak_options.h"

#include <nlohmann/json.hpp>

namespace baton_soak {

baton_engine::EngineOptions engine_options() {
  baton_engine::EngineOptions options;
  options.model = "tiny:7";
  options.threads = 1;
  options.chunk_tokens = 16;
  options.quiet = true;
  return options;
}

baton::ContextOptions context_options(const std::string& name) {
  baton::ContextOptions options;
  options.name = name;
  options.log_level = baton::LogLevel::kError;
  options.max_live = 64;
  options.rails[0].paths = 2;
  return options;
}

std::vector<uint8_t> encode(const SoakRequest& request) {
  return nlohmann::json::to_cbor(nlohmann::json{{"session", request.session},
                                                {"id", request.id},
                                                {"tokens", request.tokens},
                                                {"is_pull", request.is_pull},
                                                {"layer_by_layer", request.layer_by_layer},
                                                {"cancel_chunk", request.cancel_chunk},
                                                {"cancel_layer", request.cancel_layer}});
}

SoakRequest decode(std::span<const uint8_t> bytes) {
  const auto json = nlohmann::json::from_cbor(bytes.begin(), bytes.end());
  SoakRequest request;
  request.session = json["session"];
  request.id = json["id"];
  request.tokens = json["tokens"].get<std::vector<uint32_t>>();
  request.is_pull = json["is_pull"];
  request.layer_by_layer = json["layer_by_layer"];
  request.cancel_chunk = json["cancel_chunk"];
  request.cancel_layer = json["cancel_layer"];
  return request;
}

std::vector<uint8_t> encode_id(uint64_t id) {
  const std::string text = std::to_string(id);
  return {text.begin(), text.end()};
}

uint64_t decode_id(std::span<const uint8_t> bytes) {
  return std::stoull(std::string(bytes.begin(), bytes.end()));
}

}  // namespace baton_soak
