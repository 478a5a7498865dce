// The seed of this run of a test program: BATON_TEST_SEED when set, otherwise chosen anew. Printed
// at the start, so that a failure can be repeated.
#pragma once

#include <cstdint>

namespace baton_test {

// The same for the whole run. Thread-safe.
uint64_t test_seed();

}  // namespace baton_test
