#include "examples/reference_engine/engine_messages.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;
using nlohmann::json;

namespace {

std::vector<uint8_t> bytes_of(const json& value) {
  // A message of the library may name a file whose name is not UTF-8.
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return {text.begin(), text.end()};
}

json status_json(const Status& status) {
  return {{"code", static_cast<uint32_t>(status.code())}, {"message", status.message()}};
}

Status status_from(const json& value) {
  const auto code = value.at("code").get<uint32_t>();
  if (code == 0) return Status::ok();
  if (code > static_cast<uint32_t>(StatusCode::kInternal)) {
    return {StatusCode::kProtocolError, "status code " + std::to_string(code) + " is none"};
  }
  return {static_cast<StatusCode>(code), value.at("message").get<std::string>()};
}

// No message has one, and a number of any size would be turned into an integer unchecked.
bool has_fraction(const json& value) {
  return value.is_number_float() ||
         (value.is_structured() && std::any_of(value.begin(), value.end(), has_fraction));
}

// The library throws on a wrong text; this is where that ends.
template <typename T, typename Read>
Result<T> parse(const char* what, std::span<const uint8_t> bytes, Read read) {
  try {
    const json value = json::parse(bytes.begin(), bytes.end());
    if (has_fraction(value)) {
      return Status(StatusCode::kProtocolError,
                    std::string(what) + ": a number that is no integer");
    }
    return read(value);
  } catch (const json::exception& error) {
    return Status(StatusCode::kProtocolError, std::string(what) + ": " + error.what());
  }
}

}  // namespace

std::vector<uint8_t> encode(const HelloReply& reply) {
  return bytes_of({{"status", status_json(reply.status)},
                   {"clock_id", reply.clock_id},
                   {"pid", reply.pid},
                   {"threads", reply.threads}});
}

std::vector<uint8_t> encode(const PrefillRequest& request) {
  return bytes_of({{"id", request.id},
                   {"hand_off", hand_off_name(request.hand_off)},
                   {"pause_ms", request.pause_ms},
                   {"tokens", request.tokens}});
}

std::vector<uint8_t> encode(const PrefillRecord& record) {
  json chunks = json::array();
  for (const PrefillRecord::Chunk& chunk : record.chunks) {
    chunks.push_back({{"begin", chunk.token_begin},
                      {"end", chunk.token_end},
                      {"computed_ns", chunk.computed_ns}});
  }
  return bytes_of({{"id", record.id},
                   {"status", status_json(record.status)},
                   {"begin_ns", record.begin_ns},
                   {"end_ns", record.end_ns},
                   {"cpu_ns", record.cpu_ns},
                   {"chunks", std::move(chunks)},
                   {"final_ns", record.final_ns},
                   {"posted_ns", record.posted_ns},
                   {"sent_bytes", record.sent_bytes}});
}

Result<HelloReply> decode_hello_reply(std::span<const uint8_t> bytes) {
  return parse<HelloReply>("reply to the hello", bytes, [](const json& value) {
    HelloReply reply;
    reply.status = status_from(value.at("status"));
    value.at("clock_id").get_to(reply.clock_id);
    value.at("pid").get_to(reply.pid);
    value.at("threads").get_to(reply.threads);
    return reply;
  });
}

Result<PrefillRequest> decode_request(std::span<const uint8_t> bytes) {
  return parse<PrefillRequest>("request", bytes, [](const json& value) -> Result<PrefillRequest> {
    PrefillRequest request;
    value.at("id").get_to(request.id);
    auto hand_off = parse_hand_off(value.at("hand_off").get<std::string>());
    if (!hand_off.is_ok()) return hand_off.status();
    request.hand_off = *hand_off;
    value.at("pause_ms").get_to(request.pause_ms);
    value.at("tokens").get_to(request.tokens);
    return request;
  });
}

Result<PrefillRecord> decode_record(std::span<const uint8_t> bytes) {
  return parse<PrefillRecord>("record of a request", bytes, [](const json& value) {
    PrefillRecord record;
    value.at("id").get_to(record.id);
    record.status = status_from(value.at("status"));
    value.at("begin_ns").get_to(record.begin_ns);
    value.at("end_ns").get_to(record.end_ns);
    value.at("cpu_ns").get_to(record.cpu_ns);
    for (const json& one : value.at("chunks")) {
      PrefillRecord::Chunk chunk;
      one.at("begin").get_to(chunk.token_begin);
      one.at("end").get_to(chunk.token_end);
      one.at("computed_ns").get_to(chunk.computed_ns);
      record.chunks.push_back(std::move(chunk));
    }
    value.at("final_ns").get_to(record.final_ns);
    value.at("posted_ns").get_to(record.posted_ns);
    value.at("sent_bytes").get_to(record.sent_bytes);
    return record;
  });
}

Status RecordReader::add(std::span<const uint8_t> part) {
  if (text_.size() + part.size() > kMaxRecordBytes) {
    return {StatusCode::kProtocolError,
            "a record of more than " + std::to_string(kMaxRecordBytes) + " bytes"};
  }
  text_.insert(text_.end(), part.begin(), part.end());
  return Status::ok();
}

Result<PrefillRecord> RecordReader::take() { return decode_record(std::exchange(text_, {})); }

uint64_t this_clock_id() {
  // New at each start of the kernel, as CLOCK_MONOTONIC is.
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return std::hash<std::string>()(id);
}

}  // namespace baton_engine
