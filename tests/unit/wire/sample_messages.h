// One message of each kind with every field set: for round trips, for damage, and as the fuzz
// targets' seeds.
#pragma once

#include <vector>

#include "src/wire/messages.h"

namespace baton_test {

baton::Layout sample_layout();
baton::wire::Describe sample_describe();
std::vector<baton::wire::Message> sample_messages();

}  // namespace baton_test
