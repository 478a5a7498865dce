// ENGINE_ASSERT: for the engine's own invariants, in release too. The engine uses only Baton's
// public headers, so it has its own.
#pragma once

#include <cstdio>
#include <cstdlib>

#define ENGINE_ASSERT(condition)                                                      \
  do {                                                                                \
    if (!(condition)) [[unlikely]] {                                                  \
      std::fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                   \
    }                                                                                 \
  } while (false)
