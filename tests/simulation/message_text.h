// What a control message says, for whoever reads a trace.
//
// Thread rule: a pure function.
#pragma once

#include <string>

#include "src/wire/messages.h"

namespace baton_test {

// "Fenced epoch 7: grant 12 layer 3 units 4", or the name alone.
std::string message_text(const baton::wire::Message& message);

}  // namespace baton_test
