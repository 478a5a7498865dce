// ProcessNumbers: what a process holds of the system, read from /proc: what a leak would raise.
//
// Thread rule: pure functions.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace baton_soak {

struct ProcessNumbers {
  uint64_t descriptors = 0;
  uint64_t threads = 0;
  uint64_t mappings = 0;
  uint64_t resident_bytes = 0;
  uint64_t free_counter_slots = 0;  // of its Context; whoever asks that sets it
};

// Zeros when the process is gone.
ProcessNumbers read_numbers(pid_t pid);
// Children of this process that ended and were not waited for.
uint64_t count_zombies();
// Empty when `after` holds no more than `before`; otherwise what grew. Mappings and memory may grow
// by what an allocator keeps for itself; counter slots are to be free as before.
std::string growth(const ProcessNumbers& before, const ProcessNumbers& after);

}  // namespace baton_soak
