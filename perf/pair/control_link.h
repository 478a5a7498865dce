// ControlLink: questions and answers between the two processes of a measurement, as JSON in Baton's
// own messages, so that one address is all that has to be passed and the secret guards it all.
//
// A request is {"do": WORD, ...}; its answer {"ok": true, ...} or {"ok": false, "code": NAME,
// "message": TEXT}. One at a time.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "baton/context.h"
#include "perf/pair/event_inbox.h"

namespace baton_perf {

struct Request {
  baton::PeerId peer;
  nlohmann::json body;
};

class ControlLink {
 public:
  // Both outlive the link.
  ControlLink(baton::Context& context, EventInbox& inbox) : context_(context), inbox_(inbox) {}

  // Asks and waits. A refusal comes back as the peer's own code and message.
  baton::Result<nlohmann::json> ask(baton::PeerId peer, const nlohmann::json& request,
                                    uint32_t timeout_ms = kAnswerTimeoutMs);
  // Asks the peer to end. OK also when it has ended before its answer came.
  baton::Status say_bye(baton::PeerId peer);
  // Waits for a request; who asks something that is no JSON object with "do" is not answered.
  baton::Result<Request> next_request(uint32_t timeout_ms);
  baton::Status answer(baton::PeerId peer, nlohmann::json body);
  baton::Status refuse(baton::PeerId peer, const baton::Status& why);

 private:
  // Filling and comparing the largest buffers takes a while.
  static constexpr uint32_t kAnswerTimeoutMs = 120'000;

  baton::Status send(baton::PeerId peer, const nlohmann::json& body);

  baton::Context& context_;
  EventInbox& inbox_;
};

}  // namespace baton_perf
