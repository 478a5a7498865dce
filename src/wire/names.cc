#include "src/wire/messages.h"

namespace baton::wire {

namespace {

// In the order of Message's alternatives.
constexpr std::array<const char*, std::variant_size_v<Message>> kNames = {
    "Hello",     "Welcome",  "Describe",    "Confirm",   "SectionsChanged", "CachesChanged",
    "Heartbeat", "Goodbye",  "PathRequest", "PathReply", "GrantOffer",      "Cancel",
    "Quiesced",  "GrantEnd", "GrantEndAck", "Fence",     "Fenced",          "Notify",
    "Settle",    "Credits",  "ReadStart",   "ReadDone",  "StateRequest",    "StateReply"};

}  // namespace

const char* message_name(const Message& message) {
  return message.valueless_by_exception() ? "nothing" : kNames[message.index()];
}

}  // namespace baton::wire
