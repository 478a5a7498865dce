// The measuring loop: the same for every subject, so that figures differ by the subject alone.
//
// Thread rule: the calling thread submits and waits.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "baton/status.h"
#include "perf/lib/histogram.h"
#include "perf/lib/subject.h"

namespace baton_perf {

struct Load {
  uint32_t in_flight = 1;  // batches outstanding
  double seconds = 1.0;    // new batches are submitted for this long
  uint64_t batch_bytes = 0;
  uint32_t runs_per_batch = 0;
};

// What one subject did in one round.
struct Sample {
  double elapsed_s = 0;  // first submit to last batch done
  uint64_t batches = 0;
  uint64_t bytes = 0;
  Histogram latency_ns;  // submit to done and known, per batch

  double gb_per_s() const {
    return elapsed_s > 0 ? static_cast<double>(bytes) / elapsed_s / 1e9 : 0;
  }
};

// Moves batches, `next_batch` first, for load.seconds and waits for all of them. Always moves at
// least one. `next_batch` is advanced, so that rounds go on where the one before ended.
baton::Result<Sample> measure(Subject& subject, const Load& load, uint64_t& next_batch);

// Moves batches [0, count), untimed.
baton::Status move_batches(Subject& subject, uint32_t in_flight, uint64_t count);

// All rounds of one subject.
struct Summary {
  std::string name;
  double gb_per_s = 0;  // median over rounds
  double runs_per_s = 0;
  uint64_t bytes = 0;
  uint64_t batches = 0;
  Histogram latency_ns;  // of all rounds
  double cpu_s_per_gb_local = 0;
  double cpu_s_per_gb_remote = 0;
  std::vector<double> rounds_gb_per_s;
};

// CPU seconds that each side has used so far.
struct CpuSeconds {
  double local = 0;
  double remote = 0;
};

struct InterleavedOptions {
  Load load;            // seconds: of one round
  uint32_t rounds = 5;  // of each subject, in turn: A B A B ...
  double warm_up_s = 0.1;
  std::function<baton::Result<CpuSeconds>()> cpu_seconds;  // called outside the timed spans
  std::function<void(const std::string& line)> progress;   // likewise
};

// Measures the subjects in turn, so that what disturbs the machine disturbs all of them, and
// summarises each by its medians. Fails with the first failure of any.
baton::Result<std::vector<Summary>> measure_interleaved(std::span<Subject* const> subjects,
                                                        const InterleavedOptions& options);

// REQUIRES: not empty.
double median(std::vector<double> values);

}  // namespace baton_perf
