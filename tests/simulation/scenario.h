// Scenario: all that one seed decides before anything runs. Contexts with their layouts, who is
// connected to whom, the fabric's faults, and a script for every request and every disturbance.
//
// A script counts in steps of the driver (simulation.h), never in time, apart from deadlines and
// stalls.
//
// Thread rule: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/layout.h"
#include "baton/plugin/loopback.h"
#include "tests/unit/kv/random_case.h"

namespace baton_test {

// Memory of one Context: sections [0, in_sections) receive KV, [in_sections, in_sections +
// out_sections) send it, then one section receives plain bytes and one sends them. A section's id
// is its index + 1.
struct ContextScript {
  Side in;  // layout only; both with ids of this Context
  Side out;
  std::vector<uint64_t> section_bytes;
  uint32_t in_sections = 0;
  uint32_t raw_in() const { return static_cast<uint32_t>(section_bytes.size()) - 2; }
  uint32_t raw_out() const { return static_cast<uint32_t>(section_bytes.size()) - 1; }
};

// Plain bytes move in slots of the raw sections, a gap before and after each.
inline constexpr uint32_t kRawSlots = 6;
inline constexpr uint32_t kRawSlotBytes = 16000;
inline constexpr uint32_t kRawGapBytes = 40;

struct LinkScript {
  uint32_t dialer = 0;
  uint32_t listener = 0;
};

enum class Kind : uint8_t { kPush, kWrite, kRead, kPull };

enum class Ending : uint8_t {
  kNatural,  // DONE, or the deadline when the script stops early (range grants: cancelled when
             // done)
  kGranterCancels,
  kMoverCancels,
  kGrantDropped,
  kTransferDropped,
};

struct ChunkScript {
  uint32_t end = 0;
  bool has_word = true;
};

// A run of plain bytes, relative to its slot.
struct RawPart {
  uint32_t offset = 0;
  uint32_t length = 0;
};

inline constexpr uint32_t kNoGroup = UINT32_MAX;

struct RequestScript {
  Kind kind = Kind::kPush;
  uint32_t granter = 0;  // decode, when prefill pushes; prefill, when decode pulls
  uint32_t mover = 0;    // the other one
  uint32_t start_step = 0;
  uint32_t deadline_ms = 0;
  uint32_t mover_deadline_ms = 0;  // 0: what is left of the Grant's
  uint32_t lease_ms = 0;           // 0: longer than it takes to be found dead
  bool is_answered = true;         // false: the offer is left alone
  Ending ending = Ending::kNatural;
  uint32_t ending_after = 0;  // steps from the Grant's opening
  uint32_t pace = 1;          // steps between two acts of the mover
  // hand-off
  baton::TokenRange tokens;
  std::vector<baton::HeadRange> heads;  // of a member of a GrantGroup, by layer group; else empty
  uint32_t group = kNoGroup;            // index in Scenario::groups
  std::vector<ChunkScript> chunks;      // partition `tokens`
  uint32_t chunks_submitted = 0;        // the first of them; seal sends the rest
  uint32_t layers_ticked = 0;           // at most, over all chunks with a word
  bool seals = true;
  // plain bytes
  std::vector<RawPart> parts;
};

// Several hand-offs over the same blocks of one Context, which start together.
struct GroupScript {
  Kind kind = Kind::kPush;  // kPush: one GrantGroup, a writer each; kPull: a ReadGrant per reader
  baton::TokenRange tokens;
  std::vector<uint32_t> members;  // indices in Scenario::requests
  // Of a GrantGroup.
  uint32_t target_rank = 0;
  bool names_heads = false;  // the receiver says who sends which; else assign_senders() does
  bool allow_gaps = false;
};

enum class Disturb : uint8_t { kDisconnect, kReconnect, kFreeze, kClose };

struct DisturbanceScript {
  Disturb what = Disturb::kDisconnect;
  uint32_t step = 0;
  uint32_t link = 0;       // kDisconnect, kReconnect
  uint32_t context = 0;    // kDisconnect: by whom; kFreeze, kClose: who
  uint32_t freeze_ms = 0;  // how long its progress() is not called
};

struct Scenario {
  uint64_t seed = 0;
  uint32_t unit_bytes = 0;
  uint32_t layers = 0;
  std::vector<ContextScript> contexts;
  std::vector<LinkScript> links;
  baton_loopback_plan plan{};
  int64_t stall_ms = 0;  // plan.stall_until_ns is this long after the fabric is made; < 0: never
  std::vector<RequestScript> requests;
  std::vector<GroupScript> groups;
  std::vector<DisturbanceScript> disturbances;
  // Beyond what is promised, in driven time: stalls and freezes of the scenario, and control
  // threads that wait for a core.
  int64_t grace_ns = 4'000'000'000;
  // How long a peer that is gone may look alive; 0: not simulated.
  int64_t found_dead_ns = 0;
};

// Who talks to whom.
enum class Topology : uint8_t {
  kDrawn,   // a line, and sometimes one link more
  kFanIn,   // everybody sends to the first Context, mostly
  kFanOut,  // the first Context sends to everybody, mostly
};

struct ScenarioShape {
  Topology topology = Topology::kDrawn;
  uint32_t contexts = 0;  // 0: 2 to 4
  uint32_t max_requests = 16;
  bool has_plan = true;  // faults in `plan`, and disturbances
  bool has_pulls = false;
  bool has_groups = false;  // where many send to one, or one to many
};

Scenario make_scenario(uint64_t seed, const ScenarioShape& shape = {});

// For messages of failed tests.
std::string describe(const Scenario& scenario);
std::string describe(const RequestScript& script);

}  // namespace baton_test
