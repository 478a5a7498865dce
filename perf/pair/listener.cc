#include "perf/pair/listener.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "baton/context.h"
#include "perf/baselines/tcp_stream.h"
#include "perf/lib/buffer.h"
#include "perf/lib/clock.h"
#include "perf/lib/machine.h"
#include "perf/lib/verify.h"
#include "perf/pair/control_link.h"
#include "perf/pair/event_inbox.h"

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint32_t kNoLimitMs = UINT32_MAX;
// Between two connections of one measurement.
constexpr uint32_t kReconnectMs = 10'000;
constexpr uint32_t kDrainMs = 1000;
// What a measurement may take besides its timed parts.
constexpr double kOverheadSeconds = 600;

std::string hex(const StreamToken& token) {
  std::string text;
  char digits[3];
  for (const uint8_t byte : token) {
    std::snprintf(digits, sizeof(digits), "%02x", byte);
    text += digits;
  }
  return text;
}

// One measurement: what "hello" brought into being. Members end in reverse order: the section
// before the memory it names.
struct Session {
  PairSettings settings;
  std::optional<Places> places;
  Buffer buffer;
  std::unique_ptr<TcpStreamServer> baseline;
  baton::Section section;
  baton::Grant grant;
};

class Listener {
 public:
  Listener(const EndpointSettings& endpoint, baton::Context& context)
      : endpoint_(endpoint), context_(context), inbox_(context), link_(context, inbox_) {}

  Status run() {
    uint32_t patience_ms = kNoLimitMs;
    while (true) {
      const Result<Request> request = link_.next_request(patience_ms);
      if (!request.is_ok()) return request.status();
      const std::string what = request->body["do"].get<std::string>();
      const Result<nlohmann::json> answer = handle(what, *request);
      const Status sent = answer.is_ok() ? link_.answer(request->peer, *answer)
                                         : link_.refuse(request->peer, answer.status());
      if (!sent.is_ok()) return sent;
      if (!answer.is_ok()) return answer.status();
      if (what == "bye") return Status::ok();
      // A peer that said "again" may go; any other that goes ends the measurement.
      patience_ms = what == "again" ? kReconnectMs : kNoLimitMs;
      inbox_.watch(what == "again" ? baton::PeerId() : request->peer);
    }
  }

 private:
  Result<nlohmann::json> handle(const std::string& what, const Request& request) {
    if (what == "hello") return hello(request);
    if (what == "cpu") return nlohmann::json{{"cpu_s", process_cpu_seconds()}};
    if (what == "again" || what == "bye") return nlohmann::json::object();
    if (session_ == nullptr) {
      return {StatusCode::kFailedPrecondition, "\"" + what + "\" came before \"hello\""};
    }
    if (what == "prepare") return prepare();
    if (what == "verify") return verify();
    return {StatusCode::kInvalidArgument, "unknown request \"" + what + "\""};
  }

  Result<nlohmann::json> hello(const Request& request) {
    if (session_ != nullptr) return {StatusCode::kFailedPrecondition, "a second \"hello\""};
    if (!request.body.contains("settings")) {
      return {StatusCode::kInvalidArgument, "\"hello\" without settings"};
    }
    const Result<PairSettings> settings = settings_from_json(request.body["settings"]);
    if (!settings.is_ok()) return settings.status();
    auto session = std::make_unique<Session>();
    session->settings = *settings;
    Result<Places> places = Places::create(settings->shape(), settings->in_flight);
    if (!places.is_ok()) return places.status();
    session->places = std::move(*places);
    Result<Buffer> buffer = Buffer::create(settings->footprint_bytes);
    if (!buffer.is_ok()) return buffer.status();
    session->buffer = std::move(*buffer);
    nlohmann::json answer = {{"machine", to_json(read_machine())}};
    if (!settings->baseline.empty()) {
      const Status started = start_baseline(*session, answer);
      if (!started.is_ok()) return started;
    }
    const Status granted = grant(*session, request.peer);
    if (!granted.is_ok()) return granted;
    session_ = std::move(session);
    return answer;
  }

  Status start_baseline(Session& session, nlohmann::json& answer) {
    const StreamToken token = random_token();
    auto server = TcpStreamServer::create(endpoint_.bind_host, token, session.buffer.bytes());
    if (!server.is_ok()) return server.status();
    answer["baseline"] = {{"port", (*server)->port()}, {"token", hex(token)}};
    session.baseline = std::move(*server);
    return Status::ok();
  }

  Status grant(Session& session, baton::PeerId peer) {
    Result<baton::Section> section =
        register_memory(context_, "baton-perf", session.buffer.bytes());
    if (!section.is_ok()) return section.status();
    session.section = std::move(*section);
    baton::RangeGrantRequest request;
    request.peer = peer;
    request.tag = kGrantTag;
    request.ranges = {{session.section.id(), 0, session.section.length_bytes()}};
    request.allow_write = session.settings.operation == Operation::kWrite;
    request.allow_read = session.settings.operation == Operation::kRead;
    const double limit_s = 2 * session.settings.seconds + kOverheadSeconds;
    request.deadline_ms = static_cast<uint32_t>(limit_s * 1000);
    Result<baton::Grant> grant = context_.grant_ranges(request);
    if (!grant.is_ok()) return grant.status();
    session.grant = std::move(*grant);
    return Status::ok();
  }

  Result<nlohmann::json> prepare() {
    if (session_->settings.operation == Operation::kWrite) {
      prepare_target(session_->buffer);
    } else {
      prepare_source(session_->buffer, session_->settings.seed);
    }
    return nlohmann::json::object();
  }

  Result<nlohmann::json> verify() {
    // Acquires what the baseline's thread placed.
    if (session_->baseline != nullptr) session_->baseline->batches_served();
    const Result<uint64_t> compared =
        verify_target(session_->buffer, *session_->places, session_->settings.seed);
    if (!compared.is_ok()) return compared.status();
    return nlohmann::json{{"bytes_verified", *compared}};
  }

  const EndpointSettings& endpoint_;
  baton::Context& context_;
  EventInbox inbox_;
  ControlLink link_;
  std::unique_ptr<Session> session_;
};

}  // namespace

Status run_listener(const EndpointSettings& endpoint,
                    const std::function<void(const std::string& address)>& on_address) {
  Result<Buffer> idle = Buffer::create(4096);
  if (!idle.is_ok()) return idle.status();
  Result<baton::Context> context = baton::Context::create(context_options(endpoint, "listen"));
  if (!context.is_ok()) return context.status();
  Result<baton::Section> section = register_memory(*context, kIdleSectionName, idle->bytes());
  if (!section.is_ok()) return section.status();
  on_address(context->address());
  Status status;
  {
    Listener listener(endpoint, *context);
    status = listener.run();
    // The answer to "bye" or the refusal leaves before the connection ends.
    context->close(kDrainMs).ignore();
  }
  return status;
}

}  // namespace baton_perf
