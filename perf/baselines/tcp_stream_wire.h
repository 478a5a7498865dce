// What the client of the TCP baseline says first.
#pragma once

#include <cstdint>

namespace baton_perf {

inline constexpr uint32_t kMaxStreamRuns = 1u << 16;

struct StreamHello {
  uint8_t token[16] = {};
  uint32_t runs = 0;
  uint32_t operation = 0;  // Operation
  uint64_t run_bytes = 0;
  uint64_t is_tuned = 0;
};
static_assert(sizeof(StreamHello) == 40, "sent as it lies in memory: no padding");

}  // namespace baton_perf
