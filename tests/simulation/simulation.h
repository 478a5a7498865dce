// Simulation: runs one Scenario. Two to four Contexts of this process over one loopback fabric, all
// driven from one thread, step by step.
//
// What follows from the seed alone: everything in the Scenario (layouts, block sizes, orders, the
// tokens and chunks of each request, deadlines, which side ends it and how, disturbances), the
// fabric's delays and reordering per post, and the draws of each request's own generator.
// What does not: the control plane has a thread and real sockets, so at which step an offer, a
// cancel or a verdict arrives differs from run to run; so do blocks that are taken when another
// request gave them back, deadlines (real time), and the order of the fabric's draws among paths. A
// seed is replayed to meet the same scenario, and a rare interleaving may need some tries
// (--repeat).
//
// Limits of time are in driven time, of which a step counts at most 10 ms: a machine that was busy
// with something else looks short, not long.
//
// A failure is reported by GoogleTest with the seed and the command that replays it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "baton/context.h"
#include "src/base/random.h"
#include "tests/simulation/memory.h"
#include "tests/simulation/request.h"
#include "tests/simulation/scenario.h"

namespace baton_test {

class Simulation {
 public:
  Simulation(uint64_t seed, Tally* tally);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  void run();
  std::string describe() const { return baton_test::describe(scenario_); }

 private:
  struct Member {
    std::optional<baton::Context> context;
    std::unique_ptr<ContextMemory> memory;
    std::map<uint32_t, baton::PeerId> peers;  // by the other's index, while it is up
    std::map<baton::PeerId, uint32_t> indices;
    std::map<baton::GrantId, Request*> grants;
    std::map<baton::TransferId, Request*> transfers;
    int64_t frozen_until_ns = 0;
    bool is_closed = false;
  };
  // The connections of two members, one after the other.
  struct Link {
    LinkScript script;
    uint32_t connections = 0;
    std::vector<bool> disturbed;  // per connection
  };
  struct Running {
    std::unique_ptr<Request> request;
    uint32_t link = 0;
    uint32_t connection = 0;
  };

  void make_members();
  void connect(uint32_t link);
  bool is_down(const Link& link) const;
  bool is_up(const Link& link) const;
  void mark_planned_faults(Link& link, uint32_t link_index);
  void disturb(uint32_t link);
  void disturb_links_of(uint32_t member);

  bool step();
  uint32_t drive();
  void take_events(uint32_t member);
  void on_event(uint32_t member, const baton::Event& event);
  void on_peer_event(uint32_t member, const baton::Event& event);
  void start_requests();
  void apply_disturbances();
  void apply(const DisturbanceScript& script);
  void idle();
  void check_in_time();
  void settle();
  void check_outcomes();
  void check_memory(const char* when);
  void close_all();

  const Scenario scenario_;
  Tally* const tally_;
  baton::base::Random interleaving_;
  baton_loopback_fabric* fabric_ = nullptr;
  std::vector<Member> members_;
  std::vector<Link> links_;
  std::vector<Running> requests_;
  std::vector<bool> applied_;  // disturbances
  uint32_t step_ = 0;
  int64_t last_step_ns_ = 0;
  int64_t driven_ns_ = 0;
  bool is_ending_ = false;
};

}  // namespace baton_test
