// Waiting for something that another thread or process brings about, with a deadline and without a
// fixed sleep.
#pragma once

#include <chrono>
#include <functional>

namespace baton_test {

// Calls `predicate` until it is true (then true) or `limit` has passed (then false). Between calls
// it gives up the CPU for a moment that grows from nothing to 1 ms. For what can signal, wait on
// the signal instead.
bool wait_until(const std::function<bool()>& predicate,
                std::chrono::milliseconds limit = std::chrono::seconds(20));

}  // namespace baton_test
