// BATON_ASSERT and BATON_DCHECK: for our own invariants. Wrong arguments of users and wrong input
// of peers are Statuses.
#pragma once

#include <string_view>

namespace baton::base {

// Writes "file:line: condition: message" to standard error and aborts. Allocates nothing.
[[noreturn]] void assert_fail(const char* condition, const char* file, int line,
                              std::string_view message) noexcept;

}  // namespace baton::base

// Active in release, too. `message` says what must hold, and is evaluated only on failure.
#define BATON_ASSERT(condition, message)                                   \
  do {                                                                     \
    if (!(condition)) [[unlikely]] {                                       \
      ::baton::base::assert_fail(#condition, __FILE__, __LINE__, message); \
    }                                                                      \
  } while (false)

// For checks that cost too much for release: the option BATON_DCHECK turns them on. Otherwise not
// evaluated.
#if defined(BATON_ENABLE_DCHECK)
#define BATON_DCHECK(condition, message) BATON_ASSERT(condition, message)
#else
#define BATON_DCHECK(condition, message) \
  do {                                   \
    if (false) {                         \
      static_cast<void>(condition);      \
      static_cast<void>(message);        \
    }                                    \
  } while (false)
#endif
