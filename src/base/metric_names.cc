#include "baton/metrics.h"

namespace baton {

std::string_view fence_cause_name(FenceCause cause) {
  constexpr std::array<std::string_view, kNumFenceCauses> kNames = {
      "peer_lost",  "path_broken",    "peer_asked", "not_quiet",
      "no_verdict", "protocol_error", "closing"};
  const auto index = static_cast<size_t>(cause);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::string_view request_kind_name(RequestKind kind) {
  constexpr std::array<std::string_view, kNumRequestKinds> kNames = {
      "kv_grant", "range_grant", "push", "write", "read", "read_grant", "pull"};
  const auto index = static_cast<size_t>(kind);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::string_view busy_call_name(BusyCall call) {
  constexpr std::array<std::string_view, kNumBusyCalls> kNames = {
      "grant", "push", "write", "read", "submit_chunk", "seal", "send_message", "pull"};
  const auto index = static_cast<size_t>(call);
  return index < kNames.size() ? kNames[index] : "unknown";
}

}  // namespace baton
