#include "examples/reference_engine/rank_messages.h"

#include <cstring>

#include "examples/reference_engine/message_json.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;
using nlohmann::json;

namespace {

struct StepBytes {
  uint32_t token = 0;
  uint32_t is_first = 0;
};

}  // namespace

std::vector<uint8_t> encode(const Status& status) { return bytes_of(status_json(status)); }

std::vector<uint8_t> encode(const RankReady& ready) {
  return bytes_of({{"status", status_json(ready.status)}, {"address", ready.address}});
}

std::vector<uint8_t> encode(const OpenRequest& request) {
  return bytes_of({{"id", request.id},
                   {"session", request.session},
                   {"tokens", request.tokens},
                   {"capacity_tokens", request.capacity_tokens},
                   {"hand_off", hand_off_name(request.hand_off)}});
}

std::vector<uint8_t> encode(const RankArrivals& arrivals) {
  return bytes_of({{"status", status_json(arrivals.status)},
                   {"placed_ns", arrivals.placed_ns},
                   {"seen_ns", arrivals.seen_ns}});
}

std::vector<uint8_t> encode(const RankConnect& connect) {
  return bytes_of({{"session", connect.session}, {"addresses", connect.addresses}});
}

std::vector<uint8_t> encode_step(uint32_t token, bool is_first) {
  const StepBytes step{token, is_first ? 1U : 0U};
  std::vector<uint8_t> bytes(sizeof(step));
  std::memcpy(bytes.data(), &step, sizeof(step));
  return bytes;
}

Status decode_status(std::span<const uint8_t> bytes) {
  // Not a Result of a Status, which could not tell which of the two is meant.
  struct Box {
    Status status;
  };
  const auto box = parse_message<Box>("status", bytes,
                                      [](const json& value) { return Box{status_from(value)}; });
  return box.is_ok() ? box->status : box.status();
}

Result<RankReady> decode_ready(std::span<const uint8_t> bytes) {
  return parse_message<RankReady>("ready", bytes, [](const json& value) {
    return RankReady{status_from(value.at("status")), value.at("address").get<std::string>()};
  });
}

Result<OpenRequest> decode_open(std::span<const uint8_t> bytes) {
  return parse_message<OpenRequest>(
      "request to open", bytes, [](const json& value) -> Result<OpenRequest> {
        OpenRequest request;
        value.at("id").get_to(request.id);
        value.at("session").get_to(request.session);
        value.at("tokens").get_to(request.tokens);
        value.at("capacity_tokens").get_to(request.capacity_tokens);
        auto hand_off = parse_hand_off(value.at("hand_off").get<std::string>());
        if (!hand_off.is_ok()) return hand_off.status();
        request.hand_off = *hand_off;
        return request;
      });
}

Result<RankArrivals> decode_arrivals(std::span<const uint8_t> bytes) {
  return parse_message<RankArrivals>("arrivals", bytes, [](const json& value) {
    RankArrivals arrivals;
    arrivals.status = status_from(value.at("status"));
    value.at("placed_ns").get_to(arrivals.placed_ns);
    value.at("seen_ns").get_to(arrivals.seen_ns);
    return arrivals;
  });
}

Result<RankConnect> decode_connect(std::span<const uint8_t> bytes) {
  return parse_message<RankConnect>("ranks to connect to", bytes, [](const json& value) {
    RankConnect connect;
    value.at("session").get_to(connect.session);
    value.at("addresses").get_to(connect.addresses);
    return connect;
  });
}

Result<RankStep> decode_step(std::span<const uint8_t> bytes) {
  StepBytes step;
  if (bytes.size() != sizeof(step)) {
    return Status(StatusCode::kProtocolError,
                  "a step of " + std::to_string(bytes.size()) + " bytes");
  }
  std::memcpy(&step, bytes.data(), sizeof(step));
  return RankStep{step.token, step.is_first != 0};
}

}  // namespace baton_engine
