#include "tests/support/test_seed.h"

#include <cstdlib>
#include <random>

namespace baton_test {

uint64_t test_seed() {
  static const uint64_t seed = [] {
    if (const char* text = std::getenv("BATON_TEST_SEED"); text != nullptr) {
      return uint64_t{std::strtoull(text, nullptr, 0)};
    }
    // 32 bits are short to type and plenty.
    return uint64_t{std::random_device()()};
  }();
  return seed;
}

}  // namespace baton_test
