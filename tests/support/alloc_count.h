// Counts calls of operator new: for tests that promise "allocates nothing". Link
// baton_test_alloc_count. malloc called directly (C libraries) is not counted, and nothing is
// under a sanitizer, which brings an operator new of its own: there the counts stay 0.
//
// Thread rule: every function from any thread.
#pragma once

#include <cstdint>

namespace baton_test {

// Since the start of the process.
uint64_t allocations_of_process();
// Since the start of the calling thread.
uint64_t allocations_of_thread();

}  // namespace baton_test
