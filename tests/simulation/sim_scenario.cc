#include "tests/simulation/sim_scenario.h"

#include <algorithm>

#include "baton/plugin/plugin.h"
#include "src/base/random.h"
#include "tests/simulation/scenario_draw.h"

namespace baton_test {
namespace {

using baton::base::Random;

constexpr int64_t kUsNs = 1'000;
constexpr int64_t kMsNs = 1'000'000;

std::string number(uint64_t value) { return std::to_string(value); }

ScenarioShape make_shape(Random& random) {
  ScenarioShape shape;
  shape.has_plan = false;
  shape.has_pulls = true;
  shape.has_groups = true;
  shape.max_requests = random.chance(1, 4) ? 32 : 12;
  switch (random.below(4)) {
    case 0:
      shape.topology = Topology::kFanIn;
      shape.contexts = 5;  // four writers
      break;
    case 1:
      shape.topology = Topology::kFanOut;
      shape.contexts = 4;  // three readers
      break;
    default:
      break;
  }
  return shape;
}

std::string make_rail(Random& random, const std::string& capabilities) {
  std::string settings = "capabilities=" + capabilities;
  const auto set = [&](const char* key, uint64_t value) {
    settings += std::string(",") + key + "=" + number(value);
  };
  set("latency_ns", random.between(500, random.chance(1, 5) ? 200'000 : 8'000));
  set("jitter_ns", random.below(random.chance(1, 3) ? 100'000 : 3'000));
  set("bytes_per_us", random.chance(1, 4) ? random.between(10, 200) : random.between(1000, 50'000));
  constexpr uint64_t kMaxPosts[] = {2, 8, 64, 256};
  set("max_posts", kMaxPosts[random.below(4)]);
  if (capabilities == "rc" || capabilities == "srd") {
    set("receive_depth", random.chance(1, 2) ? 64 : random.between(2, 16));
    set("fence_ns", random.chance(1, 3) ? random.below(5'000'000) : random.below(50'000));
    set("retry_ns", random.between(1'000'000, 100'000'000));
  }
  if (capabilities == "srd") set("endpoints", random.between(1, 3));
  return settings;
}

// Kinds that a plan chooses from, the common ones more than once.
SimFaultKind pick_kind(Random& random, bool of_paths) {
  using Kind = SimFaultKind;
  if (of_paths && random.chance(5, 6)) {
    constexpr Kind kOfPaths[] = {Kind::kPathKilled, Kind::kPathKilled, Kind::kPathKilledAtOneEnd,
                                 Kind::kOneWay};
    return kOfPaths[random.below(std::size(kOfPaths))];
  }
  constexpr Kind kKinds[] = {Kind::kPathKilled,
                             Kind::kPathKilled,
                             Kind::kPathKilled,
                             Kind::kPathKilledAtOneEnd,
                             Kind::kHalfDead,
                             Kind::kHalfDead,
                             Kind::kOneWay,
                             Kind::kOneWay,
                             Kind::kStall,
                             Kind::kStall,
                             Kind::kFull,
                             Kind::kNoMemory,
                             Kind::kConnectionCut,
                             Kind::kConnectionCutUnnoticed,
                             Kind::kPartition,
                             Kind::kDisconnect,
                             Kind::kFreeze,
                             Kind::kFreeze,
                             Kind::kClockJump,
                             Kind::kKill,
                             Kind::kPowerLoss,
                             Kind::kClose,
                             Kind::kSectionWithdrawn,
                             Kind::kSectionWithdrawn};
  return kKinds[random.below(std::size(kKinds))];
}

int64_t pick_duration_ns(Random& random, SimFaultKind kind) {
  switch (kind) {
    case SimFaultKind::kStall:
      if (random.chance(1, 4)) return INT64_MAX;
      return static_cast<int64_t>(random.between(50, 900'000)) * kUsNs;
    case SimFaultKind::kFull:
    case SimFaultKind::kNoMemory:
      return static_cast<int64_t>(random.between(50, 50'000)) * kUsNs;
    case SimFaultKind::kFreeze:
    case SimFaultKind::kPartition:
    case SimFaultKind::kClockJump:
      // Some longer than it takes to be found dead.
      return static_cast<int64_t>(random.chance(1, 3) ? random.between(1000, 9000)
                                                      : random.between(1, 900)) *
             kMsNs;
    default:
      return 0;
  }
}

// In some scenarios, some requests: a silent peer ends those before it is found dead.
void make_leases(Random& random, SimScenario& scenario) {
  // A lease outlasts two heartbeats.
  constexpr uint32_t kShortestLeaseMs = 2002;
  if (scenario.dead_after_ms < kShortestLeaseMs + 400 || random.chance(1, 2)) return;
  for (RequestScript& request : scenario.base.requests) {
    if (random.chance(1, 2))
      request.lease_ms = static_cast<uint32_t>(
          random.between(kShortestLeaseMs, std::min(scenario.dead_after_ms - 300, 3000u)));
  }
}

// One hand-off that has a lease stops in the middle, and its peer stands still, or nothing goes
// between them, until that has run out.
void make_silence(Random& random, SimScenario& scenario) {
  std::vector<RequestScript>& requests = scenario.base.requests;
  const auto found = std::find_if(requests.begin(), requests.end(), [](const auto& request) {
    const bool is_handoff = request.kind == Kind::kPush || request.kind == Kind::kPull;
    return request.lease_ms != 0 && is_handoff && request.group == kNoGroup;
  });
  if (found == requests.end() || random.chance(1, 2)) return;
  RequestScript& request = *found;
  request.is_answered = true;
  request.ending = Ending::kNatural;
  request.deadline_ms = kLongDeadlineMs;
  request.mover_deadline_ms = kLongDeadlineMs;
  request.seals = false;
  request.chunks_submitted /= 2;
  request.layers_ticked /= 2;
  SimFault fault;
  fault.kind = random.chance(1, 2) ? SimFaultKind::kFreeze : SimFaultKind::kPartition;
  fault.member = random.chance(1, 2) ? request.granter : request.mover;
  for (uint32_t link = 0; link < scenario.base.links.size(); ++link) {
    const LinkScript& ends = scenario.base.links[link];
    if (std::minmax(ends.dialer, ends.listener) == std::minmax(request.granter, request.mover))
      fault.link = link;
  }
  fault.at_ns = request.start_step * kStepNs + static_cast<int64_t>(random.between(25, 60)) * kMsNs;
  fault.for_ns = static_cast<int64_t>(random.between(request.lease_ms + 300, 8000)) * kMsNs;
  if (fault.kind == SimFaultKind::kFreeze) scenario.base.grace_ns += fault.for_ns;
  scenario.faults.push_back(fault);
}

// `is_storm`: several Paths die while hand-offs go over them.
void make_faults(Random& random, bool is_storm, SimScenario& scenario) {
  if (!is_storm && random.chance(1, 3)) return;
  const uint64_t count = is_storm ? random.between(2, 8) : 1 + random.below(3);
  // Where the requests are: their first steps and a little more.
  int64_t until_ns = 2 * kMsNs;
  for (const RequestScript& request : scenario.base.requests)
    until_ns = std::max(until_ns, int64_t{request.start_step} * kStepNs + 2 * kMsNs);
  uint64_t post = 0;
  for (uint64_t i = 0; i < count; ++i) {
    SimFault fault;
    fault.kind = pick_kind(random, is_storm);
    // Where something is under way; now and then right behind the last one.
    if (random.chance(3, 4)) {
      const bool follows = post != 0 && random.chance(1, 2);
      const uint64_t most = scenario.base.requests.size() * (random.chance(1, 2) ? 60 : 10);
      post = follows ? post + random.below(20) : 1 + random.below(most);
      fault.at_post = post;
    }
    fault.at_ns = static_cast<int64_t>(random.below(static_cast<uint64_t>(until_ns)));
    fault.link = static_cast<uint32_t>(random.below(scenario.base.links.size()));
    fault.member = static_cast<uint32_t>(random.below(scenario.base.contexts.size()));
    fault.pick = static_cast<uint32_t>(random.below(1u << 20));
    fault.for_ns = pick_duration_ns(random, fault.kind);
    const bool kills = fault.kind == SimFaultKind::kKill || fault.kind == SimFaultKind::kPowerLoss;
    if (kills && random.chance(2, 3))
      fault.restart_ns = static_cast<int64_t>(random.below(2'000'000)) * kUsNs;
    // "A stopped process learns of it when it runs again."
    if (fault.kind == SimFaultKind::kFreeze) scenario.base.grace_ns += fault.for_ns;
    scenario.faults.push_back(fault);
  }
}

}  // namespace

const char* fault_name(SimFaultKind kind) {
  constexpr const char* kNames[] = {"path_killed",
                                    "path_killed_at_one_end",
                                    "half_dead",
                                    "one_way",
                                    "stall",
                                    "full",
                                    "no_memory",
                                    "connection_cut",
                                    "connection_cut_unnoticed",
                                    "partition",
                                    "disconnect",
                                    "freeze",
                                    "clock_jump",
                                    "kill",
                                    "power_loss",
                                    "close",
                                    "section_withdrawn"};
  static_assert(std::size(kNames) == static_cast<size_t>(SimFaultKind::kCount));
  return kNames[static_cast<size_t>(kind)];
}

SimScenario make_sim_scenario(uint64_t seed, const std::string& capabilities) {
  uint64_t mixed = seed;
  for (const char c : capabilities) mixed = mixed * 131 + static_cast<uint8_t>(c);
  Random random(mixed);
  SimScenario scenario;
  scenario.capabilities = capabilities;
  scenario.base = make_scenario(seed, make_shape(random));
  // What a turn, the control network, and a look at the clock may take.
  scenario.base.grace_ns = 50 * kMsNs;
  scenario.base.plan.flags =
      capabilities == "srd" ? 0u : BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR;
  const uint64_t rails = random.chance(1, 2) ? 1 : random.between(2, 3);
  for (uint64_t i = 0; i < rails; ++i) scenario.rails.push_back(make_rail(random, capabilities));
  const bool is_storm = random.chance(2, 5);
  scenario.paths =
      !is_storm && random.chance(1, 2) ? 1 : static_cast<uint32_t>(random.between(2, 4));
  if (random.chance(1, 4)) scenario.network.latency_max_ns = 2 * kMsNs;
  if (random.chance(1, 4)) scenario.network.slow_percent = 20;
  if (random.chance(1, 3)) scenario.turn_max_ns = 200 * kUsNs;
  if (random.chance(1, 3)) scenario.wake_max_ns = 300 * kUsNs;
  if (random.chance(1, 3))
    scenario.dead_after_ms = static_cast<uint32_t>(random.between(2000, 5000));
  scenario.base.found_dead_ns = int64_t{scenario.dead_after_ms} * kMsNs;
  scenario.reconnects = random.chance(3, 4);
  // Later starts, so that faults find requests in every phase.
  for (RequestScript& request : scenario.base.requests) {
    if (random.chance(1, 4)) request.start_step += static_cast<uint32_t>(random.below(5000));
  }
  make_leases(random, scenario);
  make_silence(random, scenario);
  for (const GroupScript& group : scenario.base.groups) {
    const RequestScript& first = scenario.base.requests[group.members.front()];
    for (const uint32_t member : group.members) {
      scenario.base.requests[member].start_step = first.start_step;
      scenario.base.requests[member].lease_ms = first.lease_ms;
    }
  }
  make_faults(random, is_storm, scenario);
  return scenario;
}

std::string describe(const SimScenario& scenario) {
  std::string text = "capabilities " + scenario.capabilities + ", unit_bytes " +
                     number(scenario.base.unit_bytes) + ", " + number(scenario.paths) +
                     " paths per rail, dead after " + number(scenario.dead_after_ms) + " ms\n";
  for (const std::string& rail : scenario.rails) text += "rail: " + rail + "\n";
  for (const LinkScript& link : scenario.base.links)
    text += "member " + number(link.dialer) + " dials " + number(link.listener) + "\n";
  for (size_t i = 0; i < scenario.base.requests.size(); ++i)
    text += "request " + number(i) + ": " + describe(scenario.base.requests[i]) + "\n";
  for (const SimFault& fault : scenario.faults) {
    text += std::string(fault_name(fault.kind)) + " at " +
            (fault.at_post != 0 ? "post " + number(fault.at_post)
                                : number(static_cast<uint64_t>(fault.at_ns / kUsNs)) + " us") +
            ": link " + number(fault.link) + ", member " + number(fault.member) + ", pick " +
            number(fault.pick);
    if (fault.for_ns == INT64_MAX) {
      text += ", for ever";
    } else if (fault.for_ns != 0) {
      text += ", for " + number(static_cast<uint64_t>(fault.for_ns / kUsNs)) + " us";
    }
    if (fault.restart_ns >= 0)
      text += ", restarts after " + number(static_cast<uint64_t>(fault.restart_ns / kUsNs)) + " us";
    text += "\n";
  }
  return text;
}

}  // namespace baton_test
