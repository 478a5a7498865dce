#include "tests/simulation/simulation.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>

#include "src/base/clock.h"
#include "tests/integration/rig.h"

namespace baton_test {
namespace {

using baton::Event;
using baton::EventKind;
using baton::StatusCode;

constexpr int64_t kMsNs = 1'000'000;
// A pause that makes the core fence a Path: 500 ms without an answer, with room for what the step
// itself takes.
constexpr int64_t kPauseNs = 250 * kMsNs;
// What a step adds to driven time at most.
constexpr int64_t kStepNs = 10 * kMsNs;

int64_t now_ns() { return baton::base::monotonic_now_ns(); }

std::string name_of(size_t member) { return "member-" + std::to_string(member); }

}  // namespace

Simulation::Simulation(uint64_t seed, Tally* tally)
    : scenario_(make_scenario(seed)), tally_(tally), interleaving_(seed ^ 0x5eed) {
  applied_.assign(scenario_.disturbances.size(), false);
  make_members();
  for (const LinkScript& script : scenario_.links) links_.push_back({script, 0, {}});
}

Simulation::~Simulation() {
  requests_.clear();
  for (Member& member : members_) {
    member.memory->unpublish();
    member.context.reset();
  }
  baton_loopback_fabric_destroy(fabric_);
}

void Simulation::make_members() {
  baton_loopback_plan plan = scenario_.plan;
  plan.stall_until_ns = scenario_.stall_ms < 0 ? INT64_MAX : now_ns() + scenario_.stall_ms * kMsNs;
  fabric_ = baton_loopback_fabric_create(&plan);
  for (size_t i = 0; i < scenario_.contexts.size(); ++i) {
    baton::ContextOptions options;
    options.name = name_of(i);
    options.log_level = baton::LogLevel::kOff;
    options.rails[0].plugin = "loopback";
    options.rails[0].in_process = fabric_;
    options.progress = baton::ProgressMode::kCaller;
    options.unit_bytes = scenario_.unit_bytes;
    // Silence and leases are not what is simulated: a busy machine must not look like a dead peer.
    options.peer_dead_after_ms = 60'000;
    options.default_lease_ms = 60'000;
    options.connect_timeout_ms = 30'000;
    Member member;
    member.context = require(baton::Context::create(options), "Context::create");
    member.memory = std::make_unique<ContextMemory>(scenario_.contexts[i]);
    member.memory->publish(*member.context);
    members_.push_back(std::move(member));
  }
}

// ---- connections

// connect() drives its own side only; a thread drives the others meanwhile.
void Simulation::connect(uint32_t index) {
  Link& link = links_[index];
  const uint32_t dialer = link.script.dialer;
  std::atomic<bool> is_connected{false};
  std::thread others([&] {
    while (!is_connected.load(std::memory_order_acquire)) {
      for (size_t i = 0; i < members_.size(); ++i) {
        if (i != dialer && !members_[i].is_closed) members_[i].context->progress();
      }
      std::this_thread::yield();
    }
  });
  const auto peer =
      members_[dialer].context->connect(members_[link.script.listener].context->address());
  is_connected.store(true, std::memory_order_release);
  others.join();
  EXPECT_TRUE(peer.is_ok()) << "connecting link " << index << ": " << peer.status().to_string();
  ++link.connections;
  link.disturbed.push_back(false);
  mark_planned_faults(link, index);
}

// The first connections open paths 2i and 2i + 1; which the later ones have is not known.
void Simulation::mark_planned_faults(Link& link, uint32_t index) {
  const int32_t first = static_cast<int32_t>(2 * index);
  const auto initial = static_cast<int32_t>(2 * links_.size());
  for (const int32_t path : {scenario_.plan.stall_path, scenario_.plan.kill_path}) {
    const bool is_first = link.connections == 1 && (path == first || path == first + 1);
    const bool may_be_later = link.connections > 1 && path >= initial;
    if (is_first || may_be_later) link.disturbed.back() = true;
  }
}

bool Simulation::is_up(const Link& link) const {
  const auto& a = members_[link.script.dialer].peers;
  const auto& b = members_[link.script.listener].peers;
  return a.count(link.script.listener) != 0 && b.count(link.script.dialer) != 0;
}

bool Simulation::is_down(const Link& link) const {
  const auto& a = members_[link.script.dialer].peers;
  const auto& b = members_[link.script.listener].peers;
  return a.count(link.script.listener) == 0 && b.count(link.script.dialer) == 0;
}

void Simulation::disturb(uint32_t link) {
  if (!links_[link].disturbed.empty()) links_[link].disturbed.back() = true;
}

void Simulation::disturb_links_of(uint32_t member) {
  for (uint32_t i = 0; i < links_.size(); ++i) {
    const LinkScript& script = links_[i].script;
    if (script.dialer == member || script.listener == member) disturb(i);
  }
}

// ---- steps

void Simulation::run() {
  for (uint32_t i = 0; i < links_.size(); ++i) connect(i);
  for (uint32_t i = 0; i < members_.size(); ++i) take_events(i);
  for (uint32_t i = 0; i < scenario_.requests.size(); ++i) {
    const RequestScript& script = scenario_.requests[i];
    const auto party = [this](uint32_t member) {
      Member& one = members_[member];
      return Party{&*one.context, one.memory.get(), &one.is_closed};
    };
    Running running;
    running.request = std::make_unique<Request>(i, scenario_, party(script.granter),
                                                party(script.mover), &driven_ns_, tally_);
    for (uint32_t link = 0; link < links_.size(); ++link) {
      const LinkScript& ends = links_[link].script;
      if ((ends.dialer == script.granter && ends.listener == script.mover) ||
          (ends.dialer == script.mover && ends.listener == script.granter)) {
        running.link = link;
      }
    }
    requests_.push_back(std::move(running));
  }
  last_step_ns_ = now_ns();
  while (!testing::Test::HasFailure() && step()) {
  }
  settle();
  check_outcomes();
  check_memory("when everything has ended");
  close_all();
  check_memory("after the Contexts were closed");
}

// False when there is nothing more to do.
bool Simulation::step() {
  ++step_;
  const int64_t begin_ns = now_ns();
  if (begin_ns - last_step_ns_ > kPauseNs) {
    for (uint32_t i = 0; i < links_.size(); ++i) disturb(i);
  }
  driven_ns_ += std::min(begin_ns - last_step_ns_, kStepNs);
  last_step_ns_ = begin_ns;
  const uint32_t done = drive();
  start_requests();
  bool is_over = true;
  bool is_busy = false;
  for (Running& running : requests_) {
    running.request->step(step_);
    is_over = is_over && running.request->is_over();
    is_busy = is_busy || running.request->is_busy() || !running.request->is_started();
  }
  apply_disturbances();
  if (is_over) return false;
  check_in_time();
  if (done == 0 && !is_busy) idle();
  return true;
}

// One turn of most members, in random order.
uint32_t Simulation::drive() {
  std::vector<uint32_t> order(members_.size());
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = order.size() - 1; i > 0; --i)
    std::swap(order[i], order[interleaving_.below(i + 1)]);
  uint32_t done = 0;
  for (const uint32_t i : order) {
    Member& member = members_[i];
    if (member.is_closed || now_ns() < member.frozen_until_ns) continue;
    if (interleaving_.chance(1, 5)) {
      ++done;  // its turn comes
      continue;
    }
    done += member.context->progress();
    take_events(i);
    for (Running& running : requests_) running.request->look_at_gates();
  }
  return done;
}

void Simulation::take_events(uint32_t member) {
  Event events[8];
  while (const size_t count = members_[member].context->poll_events(events)) {
    for (size_t i = 0; i < count; ++i) on_event(member, events[i]);
  }
}

void Simulation::on_event(uint32_t index, const Event& event) {
  Member& member = members_[index];
  switch (event.kind) {
    case EventKind::kPeerUp:
    case EventKind::kPeerDown:
      on_peer_event(index, event);
      return;
    case EventKind::kGrantOffered: {
      const auto found =
          std::find_if(requests_.begin(), requests_.end(), [&](const Running& running) {
            return running.request->is_started() && running.request->grant_id() == event.grant &&
                   running.request->script().mover == index;
          });
      ASSERT_NE(found, requests_.end()) << "an offer that nobody made: " << event.tag;
      SCOPED_TRACE(found->request->describe());
      found->request->on_offered();
      return;
    }
    case EventKind::kGrantEnded: {
      ASSERT_EQ(member.grants.count(event.grant), 1u) << "the end of an unknown Grant";
      Request& request = *member.grants[event.grant];
      SCOPED_TRACE(request.describe());
      request.on_grant_ended(event);
      return;
    }
    case EventKind::kTransferEnded: {
      for (Running& running : requests_) {
        Request& request = *running.request;
        if (request.script().mover == index && request.transfer_id() == event.transfer)
          member.transfers[event.transfer] = &request;
      }
      ASSERT_EQ(member.transfers.count(event.transfer), 1u) << "the end of an unknown Transfer";
      Request& request = *member.transfers[event.transfer];
      SCOPED_TRACE(request.describe());
      request.on_transfer_ended(event);
      return;
    }
    case EventKind::kMessage: {
      ASSERT_EQ(member.grants.count(baton::GrantId(event.tag_number)), 1u) << "a stray message";
      Request& request = *member.grants[baton::GrantId(event.tag_number)];
      SCOPED_TRACE(request.describe());
      request.on_message(event);
      return;
    }
    case EventKind::kGrantGroupEnded:
    case EventKind::kEventsLost:
      FAIL() << event.tag_number << " events were lost, though they are polled all the time";
  }
}

void Simulation::on_peer_event(uint32_t index, const Event& event) {
  Member& member = members_[index];
  if (event.kind == EventKind::kPeerUp) {
    const auto peer = member.context->describe_peer(event.peer);
    if (!peer.is_ok()) return;  // gone again
    for (uint32_t other = 0; other < members_.size(); ++other) {
      if (peer->name != name_of(other)) continue;
      member.peers[other] = event.peer;
      member.indices[event.peer] = other;
    }
    return;
  }
  EXPECT_EQ(event.status.message().find("protocol error"), std::string::npos)
      << event.status.to_string();
  EXPECT_TRUE(event.status.code() == StatusCode::kPeerLost ||
              event.status.code() == StatusCode::kPathLost)
      << event.status.to_string();
  const auto found = member.indices.find(event.peer);
  if (found == member.indices.end()) return;
  member.peers.erase(found->second);
  // Whatever ended it: requests that were under way may end with it.
  for (uint32_t i = 0; i < links_.size(); ++i) {
    const LinkScript& ends = links_[i].script;
    const bool is_it = (ends.dialer == index && ends.listener == found->second) ||
                       (ends.listener == index && ends.dialer == found->second);
    if (!is_it) continue;
    EXPECT_TRUE(links_[i].disturbed.back() || is_ending_)
        << "member " << index << " lost " << found->second
        << " without a cause: " << event.status.to_string();
  }
  member.indices.erase(found);
}

void Simulation::start_requests() {
  for (Running& running : requests_) {
    Request& request = *running.request;
    const RequestScript& script = request.script();
    if (request.is_started() || request.is_over() || step_ < script.start_step) continue;
    Link& link = links_[running.link];
    const bool is_closed = members_[script.granter].is_closed || members_[script.mover].is_closed;
    if (is_closed || !is_up(link)) {
      request.skip();
      continue;
    }
    Member& granter = members_[script.granter];
    SCOPED_TRACE(request.describe());
    if (!request.start(granter.peers[script.mover], step_, link.disturbed.back())) continue;
    running.connection = link.connections - 1;
    if (request.is_started()) granter.grants[request.grant_id()] = &request;
  }
}

void Simulation::apply_disturbances() {
  for (size_t i = 0; i < applied_.size(); ++i) {
    const DisturbanceScript& script = scenario_.disturbances[i];
    if (applied_[i] || step_ < script.step) continue;
    applied_[i] = true;
    apply(script);
  }
}

void Simulation::apply(const DisturbanceScript& script) {
  switch (script.what) {
    case Disturb::kDisconnect: {
      const Link& link = links_[script.link];
      const uint32_t other =
          script.context == link.script.dialer ? link.script.listener : link.script.dialer;
      Member& member = members_[script.context];
      disturb(script.link);
      // Not found: it has just been lost.
      if (member.peers.count(other) != 0) member.context->disconnect(member.peers[other]).ignore();
      return;
    }
    case Disturb::kReconnect: {
      const Link& link = links_[script.link];
      const bool is_closed =
          members_[link.script.dialer].is_closed || members_[link.script.listener].is_closed;
      if (is_down(link) && !is_closed) connect(script.link);
      return;
    }
    case Disturb::kFreeze:
      members_[script.context].frozen_until_ns = now_ns() + int64_t{script.freeze_ms} * kMsNs;
      if (script.freeze_ms * kMsNs > kPauseNs) disturb_links_of(script.context);
      return;
    case Disturb::kClose: {
      Member& member = members_[script.context];
      disturb_links_of(script.context);
      member.context->close(0).ignore();  // says whether something had to be cancelled
      member.is_closed = true;
      member.peers.clear();
      member.indices.clear();
      take_events(script.context);
      last_step_ns_ = now_ns();  // the others were not driven: disturbed, if they have a link to it
      for (uint32_t i = 0; i < links_.size(); ++i) disturb(i);
      return;
    }
  }
}

// Until a descriptor says that something is due, but not long: scripts count steps, and frozen
// members thaw.
void Simulation::idle() {
  std::vector<pollfd> waiting;
  for (const Member& member : members_) {
    if (!member.is_closed) waiting.push_back({member.context->event_fd(), POLLIN, 0});
  }
  ::poll(waiting.data(), waiting.size(), 1);
}

void Simulation::check_in_time() {
  if (step_ % 64 != 0) return;
  for (const Running& running : requests_) {
    const std::string late = running.request->check_in_time();
    if (!late.empty()) {
      ADD_FAILURE() << running.request->describe() << ": " << late;
      return;
    }
  }
}

// ---- the end

// Whatever might still be on its way is given the chance to arrive.
void Simulation::settle() {
  const int64_t until_ns = now_ns() + static_cast<int64_t>(scenario_.plan.delay_max_ns) + 2 * kMsNs;
  for (Member& member : members_) member.frozen_until_ns = 0;
  for (uint32_t turns = 0; turns < 50 || now_ns() < until_ns; ++turns) drive();
}

void Simulation::check_outcomes() {
  for (const Running& running : requests_) {
    const Request& request = *running.request;
    if (!request.is_started()) continue;
    EXPECT_TRUE(request.is_over()) << request.describe();
    if (!request.is_over()) continue;
    request.check_outcome(links_[running.link].disturbed[running.connection] ? Hurt::kOtherwise
                                                                             : Hurt::kNone);
  }
}

void Simulation::check_memory(const char* when) {
  for (size_t i = 0; i < members_.size(); ++i) {
    EXPECT_EQ(members_[i].memory->check_at_rest(), "") << name_of(i) << " " << when;
  }
}

void Simulation::close_all() {
  is_ending_ = true;
  // Handles may outlive the Contexts, or not.
  if (interleaving_.chance(1, 2)) {
    for (Running& running : requests_) running.request->drop_handles();
  }
  for (uint32_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    const bool was_closed = member.is_closed;
    const baton::Status closed = member.context->close(0);
    EXPECT_TRUE(closed.is_ok() || was_closed) << "nothing was left: " << closed.to_string();
    take_events(i);
    member.is_closed = true;
  }
}

}  // namespace baton_test
