#include "src/base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace baton::base {

void assert_fail(const char* condition, const char* file, int line,
                 std::string_view message) noexcept {
  std::fprintf(stderr, "%s:%d: assertion failed: %s: %.*s\n", file, line, condition,
               static_cast<int>(message.size()), message.data());
  std::fflush(stderr);
  std::abort();
}

}  // namespace baton::base
