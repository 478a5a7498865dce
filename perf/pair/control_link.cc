#include "perf/pair/control_link.h"

#include <span>

#include "perf/pair/exit_code.h"

namespace baton_perf {

using baton::Event;
using baton::EventKind;
using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint64_t kRequestTag = 1;
constexpr uint64_t kAnswerTag = 2;

nlohmann::json parse(const Event& event) {
  return nlohmann::json::parse(event.message, nullptr, /*allow_exceptions=*/false);
}

StatusCode code_named(const std::string& name) {
  for (int code = 0; code <= static_cast<int>(StatusCode::kInternal); ++code) {
    if (baton::status_code_name(static_cast<StatusCode>(code)) == name) {
      return static_cast<StatusCode>(code);
    }
  }
  return StatusCode::kInternal;
}

Status no_answer() {
  return {StatusCode::kProtocolError, "the peer answered with something that is not an answer"};
}

}  // namespace

Status ControlLink::send(baton::PeerId peer, const nlohmann::json& body) {
  const bool is_request = body.contains("do");
  // Text of the peer's may be repeated in a message; whatever is not UTF-8 in it is replaced.
  const std::string text = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto bytes = std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  return lost_if_gone(context_.send_message(peer, is_request ? kRequestTag : kAnswerTag, bytes));
}

Result<nlohmann::json> ControlLink::ask(baton::PeerId peer, const nlohmann::json& request,
                                        uint32_t timeout_ms) {
  const Status sent = send(peer, request);
  if (!sent.is_ok()) return sent;
  while (true) {
    const Result<Event> event = inbox_.wait(EventKind::kMessage, timeout_ms);
    if (!event.is_ok()) return event.status();
    if (event->peer != peer || event->tag_number != kAnswerTag) continue;
    nlohmann::json body = parse(*event);
    if (!body.is_object() || !body.contains("ok") || !body["ok"].is_boolean()) return no_answer();
    if (body["ok"].get<bool>()) return body;
    if (!body.contains("code") || !body["code"].is_string()) return no_answer();
    if (!body.contains("message") || !body["message"].is_string()) return no_answer();
    return {code_named(body["code"].get<std::string>()),
            "the peer says: " + body["message"].get<std::string>()};
  }
}

Status ControlLink::say_bye(baton::PeerId peer) {
  const Status status = ask(peer, {{"do", "bye"}}).status();
  return status.code() == StatusCode::kPeerLost ? Status::ok() : status;
}

Result<Request> ControlLink::next_request(uint32_t timeout_ms) {
  while (true) {
    const Result<Event> event = inbox_.wait(EventKind::kMessage, timeout_ms);
    if (!event.is_ok()) return event.status();
    if (event->tag_number != kRequestTag) continue;
    nlohmann::json body = parse(*event);
    if (!body.is_object() || !body.contains("do") || !body["do"].is_string()) continue;
    return Request{event->peer, std::move(body)};
  }
}

Status ControlLink::answer(baton::PeerId peer, nlohmann::json body) {
  body["ok"] = true;
  return send(peer, body);
}

Status ControlLink::refuse(baton::PeerId peer, const Status& why) {
  return send(peer, {{"ok", false},
                     {"code", std::string(baton::status_code_name(why.code()))},
                     {"message", why.message()}});
}

}  // namespace baton_perf
