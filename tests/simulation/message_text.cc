#include "tests/simulation/message_text.h"

namespace baton_test {

namespace wire = baton::wire;

namespace {

std::string number(uint64_t value) { return " " + std::to_string(value); }

std::string text_of(const wire::PathRequest& request) {
  return " path" + number(request.ordinal) + " epoch" + number(request.epoch.value);
}

std::string text_of(const wire::PathReply& reply) {
  return " epoch" + number(reply.epoch.value) + (reply.error.empty() ? "" : ": " + reply.error);
}

std::string text_of(const wire::Cancel& cancel) {
  return " grant" + number(cancel.grant.value) + ": " + cancel.reason;
}

std::string text_of(const wire::Quiesced& quiesced) {
  std::string text = " grant" + number(quiesced.grant.value);
  for (const auto& on : quiesced.paths) {
    text += ", epoch" + number(on.epoch.value) + (on.broken ? " broken" : "");
    for (const uint64_t signalled : on.signalled) text += number(signalled);
  }
  return text;
}

std::string text_of(const wire::GrantEnd& end) {
  return " grant" + number(end.grant.value) + " units" + number(end.units) + " " +
         std::string(baton::status_code_name(end.verdict));
}

std::string text_of(const wire::Fence& fence) { return " epoch" + number(fence.epoch.value); }

std::string text_of(const wire::Fenced& fenced) {
  std::string text = " epoch" + number(fenced.epoch.value);
  for (const auto& one : fenced.applied) {
    text += ", grant" + number(one.grant.value) + " layer" + number(one.ordinal) + " units" +
            number(one.units);
  }
  return text;
}

std::string text_of(const wire::Settle& settle) {
  std::string text = " grant" + number(settle.grant.value) + " seq" + number(settle.seq);
  for (const auto& one : settle.settled)
    text += ", layer" + number(one.ordinal) + " units" + number(one.units);
  return text;
}

std::string text_of(const wire::Credits& credits) {
  return " epoch" + number(credits.epoch.value) + " returned" + number(credits.returned);
}

std::string text_of(const wire::ReadDone& done) {
  return " grant" + number(done.grant.value) + " units" + number(done.units) + " " +
         std::string(baton::status_code_name(done.code));
}

template <typename Other>
std::string text_of(const Other&) {
  return "";
}

}  // namespace

std::string message_text(const wire::Message& message) {
  return wire::message_name(message) +
         std::visit([](const auto& one) { return text_of(one); }, message);
}

}  // namespace baton_test
