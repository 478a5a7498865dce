// SimScenario: all that one seed decides of a run in virtual time, before it starts. The requests
// are those of Scenario, whose steps are kStepNs here; the faults are this simulation's own.
//
// Thread rule: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/simulation/scenario.h"
#include "tests/simulation/sim_network.h"

namespace baton_test {

inline constexpr int64_t kStepNs = 20'000;

enum class SimFaultKind : uint8_t {
  kPathKilled,
  kPathKilledAtOneEnd,
  kHalfDead,
  kOneWay,
  kStall,
  kFull,
  kNoMemory,
  kConnectionCut,
  kConnectionCutUnnoticed,  // by one side or both
  kPartition,
  kDisconnect,
  kFreeze,
  kClockJump,
  kKill,       // the kernel closes its sockets
  kPowerLoss,  // nobody is told
  kClose,
  kSectionWithdrawn,  // and registered anew
  kCount,
};
const char* fault_name(SimFaultKind kind);

struct SimFault {
  SimFaultKind kind = SimFaultKind::kPathKilled;
  int64_t at_ns = 0;     // from the start
  uint64_t at_post = 0;  // not 0: instead, soon after so many posts of all members
  uint32_t link = 0;
  uint32_t member = 0;
  uint32_t pick = 0;   // which Path, of those that are alive
  int64_t for_ns = 0;  // INT64_MAX: ever
  // A killed member: after so long another process takes its place. -1: none does.
  int64_t restart_ns = -1;
};

struct SimScenario {
  Scenario base;
  std::string capabilities;
  std::vector<std::string> rails;  // settings of each
  uint32_t paths = 1;              // per rail
  SimNetworkShape network;
  std::vector<SimFault> faults;
  int64_t turn_max_ns = 3'000;  // what a turn of the data path takes
  int64_t wake_max_ns = 5'000;  // from a reason to a turn
  uint32_t dead_after_ms = 5000;
  bool reconnects = true;
};

// `capabilities`: rc, srd, tcp, shm.
SimScenario make_sim_scenario(uint64_t seed, const std::string& capabilities);
std::string describe(const SimScenario& scenario);

}  // namespace baton_test
