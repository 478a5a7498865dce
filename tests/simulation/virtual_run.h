// VirtualRun: one SimScenario in virtual time. Whole Contexts (the library's own, but for clock,
// randomness and control connections) over a modelled fabric, driven by progress() from one thread.
//
// What follows from the seed: everything. Two runs of a seed have the same hash, on any machine.
//
// A failure is reported as a failed expectation of GoogleTest; whoever runs it collects those.
//
// Thread rule: one thread, one run at a time per thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "baton/context.h"
#include "src/api/context_impl.h"
#include "tests/simulation/memory.h"
#include "tests/simulation/request.h"
#include "tests/simulation/request_group.h"
#include "tests/simulation/shadow.h"
#include "tests/simulation/sim_network.h"
#include "tests/simulation/sim_scenario.h"
#include "tests/simulation/world.h"

namespace baton_test {

// What happened, over many runs.
struct RunTally {
  Tally requests;
  std::map<std::string, uint64_t> faults;
  uint64_t settlements = 0;
  uint64_t fences = 0;
  uint64_t placed_bytes = 0;
  int64_t virtual_ns = 0;
};

// A request whose connection is not there waits for it so long; one that finds no memory longer.
inline constexpr int64_t kRequestPatienceNs = 300'000'000;
inline constexpr int64_t kMemoryPatienceNs = 40'000'000'000;

class VirtualRun {
 public:
  VirtualRun(const SimScenario& scenario, bool is_tracing, RunTally* tally);
  ~VirtualRun();
  VirtualRun(const VirtualRun&) = delete;
  VirtualRun& operator=(const VirtualRun&) = delete;

  // Until every request has ended, or `has_failed` says so.
  void run(const std::function<bool()>& has_failed);
  uint64_t hash() const { return world_.hash(); }

 private:
  // One process. What remains of a dead one stays, since handles and requests know it.
  struct Life {
    uint32_t seat = 0;
    uint32_t number = 0;  // counts all
    std::shared_ptr<MemberClock> clock;
    std::shared_ptr<baton::api::ContextImpl> impl;
    std::optional<baton::Context> context;
    std::unique_ptr<ContextMemory> memory;
    Shadow shadow;
    SimControl* control = nullptr;  // the Context owns it
    // Until then not everybody knows its sections of now.
    int64_t renewed_until_ns = INT64_MIN;
    bool is_closed = false;
    bool is_dead = false;
    std::map<uint32_t, baton::PeerId> peers;  // by seat, while it is up
    std::map<baton::PeerId, uint32_t> indices;
    std::map<baton::GrantId, Request*> grants;
    std::map<baton::TransferId, Request*> transfers;
    std::map<baton::GrantGroupId, RequestGroup*> groups;
  };
  // Where one process at a time has the name.
  struct Seat {
    Life* life = nullptr;
    int64_t frozen_until_ns = 0;
    uint32_t blocked = 0;  // within a call that drives by itself
    int64_t turn_ns = INT64_MAX;
    uint64_t turn = 0;  // number of the turn that counts
  };
  // The connections of two seats, one after the other.
  struct Link {
    LinkScript script;
    uint32_t connections = 0;
    std::vector<Hurt> hurt;  // per connection
    bool was_up = false;
    int64_t awake_ns = 0;           // since then it is up, and both have been awake
    Hurt hurt_early = Hurt::kNone;  // before it was up
    bool is_hurt() const { return !hurt.empty() && hurt.back() != Hurt::kNone; }
    bool is_dialling = false;
  };
  struct Running {
    std::unique_ptr<Request> request;  // null: not begun, or skipped
    bool is_skipped = false;
    uint32_t link = 0;
    uint32_t connection = 0;
    Life* granter = nullptr;
    Life* mover = nullptr;
  };

  // virtual_members.cc
  void make_fabric();
  void begin_life(uint32_t seat);
  baton::ContextOptions options_of(uint32_t seat, const Life& life) const;
  baton::api::Environment environment_of(Life& life);
  void at(uint32_t seat, uint32_t life, int64_t at_ns, bool is_timer, std::function<void()> what);
  void wake(uint32_t seat);
  void schedule_turn(uint32_t seat, int64_t at_ns);
  void turn(uint32_t seat);
  void end_life(Life& life, bool is_told);
  void close_life(Life& life);
  void renew_section(Life& life, size_t section);
  const Request* user_of(const Life& life, size_t section) const;
  size_t pick_section(const Life& life, uint32_t pick) const;
  bool is_renewed(const Life& life) const { return world_.now_ns() < life.renewed_until_ns; }
  void sleep(Life& life, int64_t until_ns);
  Life* life_of_rail(uint32_t rail_tag) const;
  bool is_usable(uint32_t seat) const;

  // virtual_events.cc
  void take_events(Life& life);
  void on_event(Life& life, const baton::Event& event);
  void on_peer_event(Life& life, const baton::Event& event);
  Request* offered_request(const Life& life, const baton::Event& event);
  Request* transferred_request(Life& life, const baton::Event& event);
  void look_at_links();
  void dial(uint32_t link);
  bool is_up(const Link& link) const;
  bool is_down(const Link& link) const;
  void disturb(uint32_t link, Hurt how = Hurt::kOtherwise);
  void disturb_links_of(uint32_t seat);
  // A Path is going, or of no use. What runs over the others of its link goes on; without others
  // the link is disturbed.
  bool hurt_path(uint32_t path);  // false: it is not connected
  void disturb_link_of(const baton_loopback_path_info& path);

  // virtual_groups.cc
  bool can_start_group(const GroupScript& script) const;
  void skip_group(const GroupScript& script);
  void start_group(uint32_t index);
  void look_at_group_gates(const Life& granter);
  void check_group_outcomes();

  // virtual_faults.cc
  void on_post(uint32_t path);
  // `path`: the one that posted, of a fault that waited for that; UINT32_MAX: none.
  void apply(const SimFault& fault, uint32_t path);
  bool apply_to_path(const SimFault& fault, uint32_t path);
  bool apply_to_connection(const SimFault& fault);
  bool apply_to_member(const SimFault& fault);
  void tell_frozen(uint32_t seat, int64_t for_ns);
  void tell_parted(uint32_t link, int64_t for_ns);
  // Each side has had a heartbeat echoed, so that leases run.
  bool has_leases(const Link& link) const;
  void restart_later(uint32_t seat, int64_t delay_ns);

  // virtual_run.cc
  uint32_t step_number() const;
  void tick();
  void tick_at(int64_t at_ns);
  void start_request(size_t index);
  Party party_of(Life& life) const;
  void make_request(size_t index);
  void note_started(size_t index);
  void step_requests();
  void check_in_time();
  bool all_over() const;
  void settle();
  void check_outcomes();
  void check_memory(const char* when);
  void close_all();
  void count_up();

  const SimScenario& scenario_;
  RunTally* const tally_;
  World world_;
  SimNetwork network_;
  baton_loopback_fabric* fabric_ = nullptr;
  std::vector<std::unique_ptr<Life>> lives_;
  std::vector<Seat> seats_;
  std::vector<Link> links_;
  std::vector<Running> requests_;
  std::vector<std::unique_ptr<RequestGroup>> groups_;  // null: not begun, or skipped
  std::set<uint32_t> hurt_paths_;
  uint64_t posts_ = 0;
  int64_t start_ns_ = 0;
  int64_t next_tick_ns_ = INT64_MAX;
  bool is_ending_ = false;
  bool is_settling_ = false;
  uint32_t restarts_pending_ = 0;
};

}  // namespace baton_test
