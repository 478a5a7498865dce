// UTF-8 by the Unicode Standard's table 3-7: no overlong forms, no surrogates, nothing past
// U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton_engine {

enum class Utf8Kind : uint8_t {
  kCharacter,   // the first `length_bytes` bytes are one character
  kIncomplete,  // all bytes given begin a character that needs more
  kInvalid,     // the first `length_bytes` bytes are a maximal part of no character
};

struct Utf8Step {
  Utf8Kind kind = Utf8Kind::kInvalid;
  size_t length_bytes = 1;
};

// What `bytes` begins with. REQUIRES: not empty.
Utf8Step next_utf8(std::string_view bytes);

// The offset of the first byte of the first ill-formed or cut sequence, or nullopt.
std::optional<size_t> find_invalid_utf8(std::string_view bytes);

// Turns bytes that come in pieces into text: holds an incomplete character back until its rest
// comes, and replaces each ill-formed part by U+FFFD.
class Utf8Stream {
 public:
  // The characters that are complete now.
  std::string push(std::string_view bytes);
  // The end: what is still held back becomes one U+FFFD.
  std::string finish();

 private:
  std::string held_;
};

}  // namespace baton_engine
