// SimBatch: seeds one after the other, in a child process, so that one which ends its process (an
// assertion of the library, a crash) is a failure among the others, and the next one runs.
//
// Thread rule: one thread; forks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/simulation/virtual_run.h"

namespace baton_test {

struct SeedReport {
  uint64_t seed = 0;
  std::string capabilities;
  std::string wrong;  // all that the run found; empty: nothing
  uint64_t hash = 0;
  RunTally tally;
};

void add_to(RunTally* all, const RunTally& one);

struct SimBatch {
  uint64_t from = 1;
  uint64_t seeds = 1;
  std::string capabilities;  // or "all": one after the other
  bool is_tracing = false;

  const std::string& capabilities_of(uint64_t seed) const;
  // `report` is called after each seed, until it says false. What a trace prints comes before that.
  void run(const std::function<bool(const SeedReport&)>& report) const;
};

}  // namespace baton_test
