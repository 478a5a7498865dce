#include "plugins/loopback/model_settings.h"

#include <string_view>

#include "baton/plugin/sdk.h"
#include "plugins/loopback/message.h"

namespace baton_loopback {
namespace {

bool parse_transport(std::string_view text, Transport* out) {
  struct Name {
    std::string_view text;
    Transport transport;
  };
  constexpr Name kNames[] = {{"rc", Transport::kRc},
                             {"srd", Transport::kSrd},
                             {"tcp", Transport::kTcp},
                             {"shm", Transport::kShm}};
  for (const Name& name : kNames) {
    if (name.text != text) continue;
    *out = name.transport;
    return true;
  }
  return false;
}

// A numeric setting and its range.
struct Number {
  std::string_view key;
  uint64_t min;
  uint64_t max;
  uint64_t* wide;
  uint32_t* narrow;
};

}  // namespace

baton_rc ModelSettings::parse(const char* text, char* error) {
  constexpr uint64_t kSecondNs = 1'000'000'000;
  const Number numbers[] = {
      {"tag", 0, UINT32_MAX, nullptr, &tag},
      {"latency_ns", 0, kSecondNs, &latency_ns, nullptr},
      {"jitter_ns", 0, kSecondNs, &jitter_ns, nullptr},
      {"bytes_per_us", 1, 1'000'000, &bytes_per_us, nullptr},
      {"max_posts", 1, 4096, nullptr, &max_posts},
      {"receive_depth", 1, 64, nullptr, &receive_depth},
      {"endpoints", 1, 64, nullptr, &endpoints},
      {"fence_ns", 0, kSecondNs, &fence_ns, nullptr},
      {"retry_ns", 1, 10 * kSecondNs, &retry_ns, nullptr},
  };
  baton_sdk::Settings settings(text);
  for (std::string_view key, value; settings.next(&key, &value);) {
    bool is_known = key == "capabilities";
    bool is_good = is_known && parse_transport(value, &transport);
    for (const Number& number : numbers) {
      if (number.key != key) continue;
      is_known = true;
      uint64_t parsed = 0;
      is_good = baton_sdk::Settings::parse_number(value, number.min, number.max, &parsed);
      if (is_good && number.wide != nullptr) *number.wide = parsed;
      if (is_good && number.narrow != nullptr) *number.narrow = static_cast<uint32_t>(parsed);
    }
    if (is_good) continue;
    baton_sdk::format_text(error, "loopback: %s \"%.*s=%.*s\"",
                           is_known ? "a value that is none of" : "unknown setting",
                           static_cast<int>(key.size()), key.data(), static_cast<int>(value.size()),
                           value.data());
    return BATON_RC_INVALID;
  }
  return BATON_RC_OK;
}

void ModelSettings::capabilities(baton_capabilities* out) const {
  out->flags = BATON_CAP_READ | BATON_CAP_SAME_HOST | BATON_CAP_IN_PROCESS;
  if (is_ordered()) out->flags |= BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR;
  out->flags |= is_hardware() ? BATON_CAP_NEEDS_REGISTRATION : BATON_CAP_SOFTWARE_PLACEMENT;
  out->immediate_bits = 32;
  out->max_message_bytes = kMaxMessageBytes;
  out->inline_bytes = 0;
  out->max_sources = kMaxSources;
  out->max_posts = max_posts;
  out->receive_depth = is_hardware() ? receive_depth : 0;
  out->fence_unit = transport == Transport::kRc    ? BATON_FENCE_PATH
                    : transport == Transport::kSrd ? BATON_FENCE_ENDPOINT
                                                   : BATON_FENCE_GRANT;
}

}  // namespace baton_loopback
