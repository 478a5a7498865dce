#include "examples/reference_engine/utf8.h"

#include <utility>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The length that a first byte promises, and the range that its second byte must lie in; length 0
// for a byte that begins no character.
struct Lead {
  size_t length_bytes = 0;
  uint8_t second_low = 0x80;
  uint8_t second_high = 0xbf;
};

Lead classify(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xc2) return {0};
  if (byte < 0xe0) return {2};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte < 0xf0) return {3};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {0};
}

}  // namespace

Utf8Step next_utf8(std::string_view bytes) {
  ENGINE_ASSERT(!bytes.empty());
  const Lead lead = classify(static_cast<uint8_t>(bytes[0]));
  if (lead.length_bytes == 0) return {Utf8Kind::kInvalid, 1};
  for (size_t i = 1; i < lead.length_bytes; ++i) {
    if (i == bytes.size()) return {Utf8Kind::kIncomplete, i};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const uint8_t low = i == 1 ? lead.second_low : 0x80;
    const uint8_t high = i == 1 ? lead.second_high : 0xbf;
    if (byte < low || byte > high) return {Utf8Kind::kInvalid, i};
  }
  return {Utf8Kind::kCharacter, lead.length_bytes};
}

std::optional<size_t> find_invalid_utf8(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Step step = next_utf8(bytes.substr(at));
    if (step.kind != Utf8Kind::kCharacter) return at;
    at += step.length_bytes;
  }
  return std::nullopt;
}

std::string Utf8Stream::push(std::string_view bytes) {
  held_ += bytes;
  std::string text;
  size_t at = 0;
  while (at < held_.size()) {
    const Utf8Step step = next_utf8(std::string_view(held_).substr(at));
    if (step.kind == Utf8Kind::kIncomplete) break;
    if (step.kind == Utf8Kind::kCharacter) {
      text.append(held_, at, step.length_bytes);
    } else {
      text += kReplacement;
    }
    at += step.length_bytes;
  }
  held_.erase(0, at);
  return text;
}

std::string Utf8Stream::finish() {
  const bool cut = !held_.empty();
  held_.clear();
  return cut ? std::string(kReplacement) : std::string();
}

}  // namespace baton_engine
