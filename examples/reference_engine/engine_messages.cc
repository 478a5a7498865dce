#include "examples/reference_engine/engine_messages.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <utility>

#include "examples/reference_engine/message_json.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;
using nlohmann::json;

namespace {

json rank_json(const PrefillRecord::Rank& rank) {
  return {{"head_first", rank.head_first}, {"heads", rank.heads},
          {"begin_ns", rank.begin_ns},     {"end_ns", rank.end_ns},
          {"cpu_ns", rank.cpu_ns},         {"final_ns", rank.final_ns},
          {"posted_ns", rank.posted_ns},   {"sent_bytes", rank.sent_bytes}};
}

PrefillRecord::Rank rank_from(const json& value) {
  PrefillRecord::Rank rank;
  value.at("head_first").get_to(rank.head_first);
  value.at("heads").get_to(rank.heads);
  value.at("begin_ns").get_to(rank.begin_ns);
  value.at("end_ns").get_to(rank.end_ns);
  value.at("cpu_ns").get_to(rank.cpu_ns);
  value.at("final_ns").get_to(rank.final_ns);
  value.at("posted_ns").get_to(rank.posted_ns);
  value.at("sent_bytes").get_to(rank.sent_bytes);
  return rank;
}

}  // namespace

std::vector<uint8_t> encode(const HelloReply& reply) {
  return bytes_of({{"status", status_json(reply.status)},
                   {"clock_id", reply.clock_id},
                   {"pid", reply.pid},
                   {"threads", reply.threads},
                   {"rank_addresses", reply.rank_addresses}});
}

std::vector<uint8_t> encode(const PrefillRequest& request) {
  return bytes_of({{"id", request.id},
                   {"hand_off", hand_off_name(request.hand_off)},
                   {"pause_ms", request.pause_ms},
                   {"tokens", request.tokens},
                   {"session", request.session},
                   {"decode_tp", request.decode_tp}});
}

std::vector<uint8_t> encode(const PrefillRecord& record) {
  json chunks = json::array();
  for (const PrefillRecord::Chunk& chunk : record.chunks) {
    chunks.push_back({{"begin", chunk.token_begin},
                      {"end", chunk.token_end},
                      {"computed_ns", chunk.computed_ns}});
  }
  json ranks = json::array();
  for (const PrefillRecord::Rank& rank : record.ranks) ranks.push_back(rank_json(rank));
  return bytes_of({{"id", record.id},
                   {"status", status_json(record.status)},
                   {"begin_ns", record.begin_ns},
                   {"end_ns", record.end_ns},
                   {"cpu_ns", record.cpu_ns},
                   {"chunks", std::move(chunks)},
                   {"final_ns", record.final_ns},
                   {"posted_ns", record.posted_ns},
                   {"sent_bytes", record.sent_bytes},
                   {"ranks", std::move(ranks)}});
}

Result<HelloReply> decode_hello_reply(std::span<const uint8_t> bytes) {
  return parse_message<HelloReply>("reply to the hello", bytes, [](const json& value) {
    HelloReply reply;
    reply.status = status_from(value.at("status"));
    value.at("clock_id").get_to(reply.clock_id);
    value.at("pid").get_to(reply.pid);
    value.at("threads").get_to(reply.threads);
    value.at("rank_addresses").get_to(reply.rank_addresses);
    return reply;
  });
}

Result<PrefillRequest> decode_request(std::span<const uint8_t> bytes) {
  return parse_message<PrefillRequest>(
      "request", bytes, [](const json& value) -> Result<PrefillRequest> {
        PrefillRequest request;
        value.at("id").get_to(request.id);
        auto hand_off = parse_hand_off(value.at("hand_off").get<std::string>());
        if (!hand_off.is_ok()) return hand_off.status();
        request.hand_off = *hand_off;
        value.at("pause_ms").get_to(request.pause_ms);
        value.at("tokens").get_to(request.tokens);
        value.at("session").get_to(request.session);
        value.at("decode_tp").get_to(request.decode_tp);
        return request;
      });
}

Result<PrefillRecord> decode_record(std::span<const uint8_t> bytes) {
  return parse_message<PrefillRecord>("record of a request", bytes, [](const json& value) {
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
    for (const json& one : value.at("ranks")) record.ranks.push_back(rank_from(one));
    return record;
  });
}

std::vector<uint8_t> encode(const ReaderName& name) {
  return bytes_of({{"session", name.session}, {"decode_rank", name.decode_rank}});
}

Result<ReaderName> decode_reader(std::span<const uint8_t> bytes) {
  return parse_message<ReaderName>("name of a reader", bytes, [](const json& value) {
    return ReaderName{value.at("session").get<uint64_t>(), value.at("decode_rank").get<uint32_t>()};
  });
}

std::vector<uint8_t> encode_withdrawal(uint64_t id) { return bytes_of({{"id", id}}); }

Result<uint64_t> decode_withdrawal(std::span<const uint8_t> bytes) {
  return parse_message<uint64_t>("withdrawal", bytes,
                                 [](const json& value) { return value.at("id").get<uint64_t>(); });
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

std::string grant_tag(uint64_t session, uint64_t id, uint32_t decode_rank) {
  return "session " + std::to_string(session) + " request " + std::to_string(id) + " rank " +
         std::to_string(decode_rank);
}

namespace {

void take_last(std::vector<int64_t>& all, const std::vector<int64_t>& more) {
  all.resize(std::max(all.size(), more.size()));
  for (size_t i = 0; i < more.size(); ++i) all[i] = std::max(all[i], more[i]);
}

// Of a failure that only follows from another rank's.
bool is_consequence(const Status& status) { return status.code() == StatusCode::kCancelled; }

}  // namespace

PrefillRecord merge(const std::vector<PrefillRecord>& of_ranks) {
  PrefillRecord out = of_ranks.front();
  for (size_t i = 1; i < of_ranks.size(); ++i) {
    const PrefillRecord& more = of_ranks[i];
    if (!more.status.is_ok() &&
        (out.status.is_ok() || (is_consequence(out.status) && !is_consequence(more.status)))) {
      out.status = {more.status.code(),
                    "prefill rank " + std::to_string(i) + ": " + more.status.message()};
    }
    out.begin_ns = std::min(out.begin_ns, more.begin_ns);
    out.end_ns = std::max(out.end_ns, more.end_ns);
    out.cpu_ns += more.cpu_ns;
    for (size_t chunk = 0; chunk < std::min(out.chunks.size(), more.chunks.size()); ++chunk) {
      take_last(out.chunks[chunk].computed_ns, more.chunks[chunk].computed_ns);
    }
    take_last(out.final_ns, more.final_ns);
    take_last(out.posted_ns, more.posted_ns);
    out.sent_bytes.resize(std::max(out.sent_bytes.size(), more.sent_bytes.size()));
    for (size_t layer = 0; layer < more.sent_bytes.size(); ++layer) {
      out.sent_bytes[layer] += more.sent_bytes[layer];
    }
    out.ranks.insert(out.ranks.end(), more.ranks.begin(), more.ranks.end());
  }
  return out;
}

uint64_t this_clock_id() {
  // New at each start of the kernel, as CLOCK_MONOTONIC is.
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return std::hash<std::string>()(id);
}

}  // namespace baton_engine
