// The limits of messages.h, checked on the structs: the same rules for what is sent and for what
// was received.
//
// Thread rule: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "baton/status.h"
#include "src/wire/messages.h"

namespace baton::wire {

// kOutOfRange (a length, count or number past its limit) or kInvalidArgument (an unknown enum
// value, an unprintable name, counts that do not agree); says where.
Status validate(const Message& message);

// No control characters: what names are made of.
bool is_printable(std::string_view text);

// `text` cut to kMaxTextBytes, with '?' for what does not print: for errors and reasons, which
// are composed from anything.
std::string printable(const std::string& text);

}  // namespace baton::wire
