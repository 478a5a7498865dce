#include "tests/simulation/virtual_run.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace baton_test {

namespace {

constexpr int64_t kMsNs = 1'000'000;
constexpr int64_t kCheckEveryNs = 50 * kMsNs;
// What is still on its way when all has ended has arrived by then.
constexpr int64_t kSettleNs = 1'200 * kMsNs;

}  // namespace

VirtualRun::VirtualRun(const SimScenario& scenario, bool is_tracing, RunTally* tally)
    : scenario_(scenario),
      tally_(tally),
      world_(scenario.base.seed * 2 + 1, is_tracing),
      network_(world_, scenario.network) {
  make_fabric();
  seats_.resize(scenario.base.contexts.size());
  for (const LinkScript& script : scenario.base.links) {
    links_.emplace_back();
    links_.back().script = script;
  }
  requests_.resize(scenario.base.requests.size());
  groups_.resize(scenario.base.groups.size());
  for (size_t i = 0; i < requests_.size(); ++i) {
    const RequestScript& script = scenario.base.requests[i];
    for (uint32_t link = 0; link < links_.size(); ++link) {
      const LinkScript& ends = links_[link].script;
      if ((ends.dialer == script.granter && ends.listener == script.mover) ||
          (ends.dialer == script.mover && ends.listener == script.granter)) {
        requests_[i].link = link;
      }
    }
  }
}

VirtualRun::~VirtualRun() {
  is_ending_ = is_settling_ = true;
  for (Seat& seat : seats_) ++seat.blocked;  // nobody is looked at any more
  for (const std::unique_ptr<Life>& life : lives_) {
    if (life->is_dead) continue;
    life->context->close(0).ignore();
    life->memory->unpublish();
    life->context.reset();
    life->impl.reset();
  }
  groups_.clear();
  requests_.clear();
  world_.set_fabric(nullptr);
  baton_loopback_fabric_destroy(fabric_);
}

uint32_t VirtualRun::step_number() const {
  return static_cast<uint32_t>((world_.now_ns() - start_ns_) / kStepNs);
}

void VirtualRun::run(const std::function<bool()>& has_failed) {
  start_ns_ = world_.now_ns();
  for (uint32_t seat = 0; seat < seats_.size(); ++seat) begin_life(seat);
  look_at_links();
  for (const SimFault& fault : scenario_.faults) {
    if (fault.at_post != 0) continue;
    world_.at(start_ns_ + fault.at_ns, [this, &fault] { apply(fault, UINT32_MAX); });
  }
  tick_at(start_ns_ + kStepNs);
  check_in_time();
  while (!has_failed() && !all_over()) world_.step(INT64_MAX - 1);
  if (!has_failed()) settle();
  if (!has_failed()) {
    check_outcomes();
    check_memory("when everything has ended");
  }
  if (!has_failed()) {
    close_all();
    check_memory("after the Contexts were closed");
  }
  tally_->virtual_ns += world_.now_ns() - start_ns_;
  tally_->settlements += network_.messages_of("Settle");
}

bool VirtualRun::all_over() const {
  return std::all_of(requests_.begin(), requests_.end(), [](const Running& running) {
    return running.is_skipped || (running.request != nullptr && running.request->is_over());
  });
}

// ---- requests

void VirtualRun::tick_at(int64_t at_ns) {
  if (at_ns >= next_tick_ns_) return;
  next_tick_ns_ = at_ns;
  world_.at(at_ns, [this, at_ns] {
    if (next_tick_ns_ != at_ns) return;
    next_tick_ns_ = INT64_MAX;
    tick();
  });
}

void VirtualRun::tick() {
  if (is_settling_) return;
  step_requests();
  int64_t next_ns = INT64_MAX;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const Running& running = requests_[i];
    if (running.is_skipped) continue;
    const int64_t starts_ns = start_ns_ + scenario_.base.requests[i].start_step * kStepNs;
    if (running.request == nullptr || !running.request->is_started()) {
      // Once its time has come it tries again every few steps.
      const int64_t again_ns = running.request == nullptr ? 5 * kStepNs : kMsNs;
      next_ns = std::min(next_ns, std::max(starts_ns, world_.now_ns() + again_ns));
    } else if (running.request->is_busy()) {
      next_ns = std::min(next_ns, world_.now_ns() + kStepNs);
    }
  }
  if (next_ns != INT64_MAX) tick_at(next_ns);
}

void VirtualRun::step_requests() {
  const uint32_t step = step_number();
  for (size_t i = 0; i < requests_.size(); ++i) {
    Running& running = requests_[i];
    const RequestScript& script = scenario_.base.requests[i];
    if (running.is_skipped || step < script.start_step) continue;
    if (running.request == nullptr || !running.request->is_started()) {
      if (is_settling_) continue;
      if (script.group == kNoGroup) {
        start_request(i);
      } else if (scenario_.base.groups[script.group].members.front() == i) {
        start_group(script.group);
      }
      continue;
    }
    // Whoever is frozen, or within a call, does nothing.
    bool is_awake = true;
    for (const uint32_t seat : {script.granter, script.mover}) {
      const Seat& one = seats_[seat];
      is_awake = is_awake && one.frozen_until_ns <= world_.now_ns() && one.blocked == 0;
    }
    if (!is_awake || running.request->is_over()) continue;
    SCOPED_TRACE(running.request->tag());  // short: this is most of what a run does
    running.request->step(step);
    if (running.request->is_busy()) tick_at(world_.now_ns() + kStepNs);
    if (!running.request->acted()) continue;
    for (const uint32_t seat : {script.granter, script.mover}) {
      if (is_usable(seat)) wake(seat);
    }
  }
}

void VirtualRun::start_request(size_t index) {
  Running& running = requests_[index];
  const RequestScript& script = scenario_.base.requests[index];
  Link& link = links_[running.link];
  const int64_t due_ns = start_ns_ + script.start_step * kStepNs + kRequestPatienceNs;
  const bool can_start = is_up(link) && is_usable(script.granter) && is_usable(script.mover);
  if (!can_start) {
    if (world_.now_ns() > due_ns) running.is_skipped = true;
    return;
  }
  Life* granter = seats_[script.granter].life;
  Life* mover = seats_[script.mover].life;
  if (seats_[script.granter].frozen_until_ns > world_.now_ns()) return;
  if (running.request == nullptr || running.granter != granter || running.mover != mover)
    make_request(index);
  Request& request = *running.request;
  SCOPED_TRACE(request.describe());
  const bool is_new = is_renewed(*granter) || is_renewed(*mover);
  if (is_new) request.on_renewed();
  if (!request.start(granter->peers[script.mover], step_number(), link.is_hurt() || is_new)) {
    // No memory is free: somebody has to end first.
    if (world_.now_ns() > due_ns + kMemoryPatienceNs) running.is_skipped = true;
    return;
  }
  note_started(index);
}

Party VirtualRun::party_of(Life& life) const {
  return Party{&*life.context, life.memory.get(), &life.is_closed, &life.shadow};
}

void VirtualRun::make_request(size_t index) {
  Running& running = requests_[index];
  const RequestScript& script = scenario_.base.requests[index];
  running.granter = seats_[script.granter].life;
  running.mover = seats_[script.mover].life;
  running.request = std::make_unique<Request>(static_cast<uint32_t>(index), scenario_.base,
                                              party_of(*running.granter), party_of(*running.mover),
                                              world_.now(), &tally_->requests);
}

void VirtualRun::note_started(size_t index) {
  Running& running = requests_[index];
  const RequestScript& script = scenario_.base.requests[index];
  const Link& link = links_[running.link];
  Request& request = *running.request;
  running.connection = link.connections - 1;
  if (link.is_hurt()) request.disturb();
  if (!request.is_started()) {
    running.is_skipped = true;
    return;
  }
  world_.note(script.granter, "grants", index, request.grant_id().value);
  running.granter->grants[request.grant_id()] = &request;
  wake(script.granter);
}

void VirtualRun::check_in_time() {
  if (is_settling_) return;
  for (const Running& running : requests_) {
    if (running.request == nullptr) continue;
    const std::string late = running.request->check_in_time();
    if (!late.empty()) ADD_FAILURE() << running.request->describe() << ": " << late;
  }
  world_.at(world_.now_ns() + kCheckEveryNs, [this] { check_in_time(); });
}

// ---- the end

void VirtualRun::settle() {
  is_settling_ = true;
  int64_t until_ns = world_.now_ns() + kSettleNs;
  // Who is frozen thaws in his time: what waits for him comes in its order.
  for (const Seat& seat : seats_) until_ns = std::max(until_ns, seat.frozen_until_ns + kSettleNs);
  while (world_.now_ns() < until_ns) world_.step(until_ns);
}

void VirtualRun::check_outcomes() {
  for (const Running& running : requests_) {
    if (running.is_skipped || running.request == nullptr) continue;
    const Request& request = *running.request;
    if (!request.is_started()) continue;
    EXPECT_TRUE(request.is_over()) << request.describe();
    if (!request.is_over()) continue;
    request.check_outcome(links_[running.link].hurt[running.connection], !hurt_paths_.empty());
  }
  check_group_outcomes();
}

void VirtualRun::check_memory(const char* when) {
  for (const std::unique_ptr<Life>& life : lives_) {
    if (life->is_dead) continue;
    EXPECT_EQ(life->memory->check_at_rest(), "") << "member-" << life->seat << " " << when;
  }
}

void VirtualRun::close_all() {
  is_ending_ = true;
  // Handles may outlive the Contexts, or not.
  if (world_.random().chance(1, 2)) {
    for (Running& running : requests_) {
      if (running.request != nullptr) running.request->drop_handles();
    }
    for (const std::unique_ptr<RequestGroup>& group : groups_) {
      if (group != nullptr) group->drop_handle();
    }
  }
  for (const std::unique_ptr<Life>& life : lives_) {
    if (life->is_dead) continue;
    const bool was_closed = life->is_closed;
    ++seats_[life->seat].blocked;
    const baton::Status closed = life->context->close(0);
    --seats_[life->seat].blocked;
    EXPECT_TRUE(closed.is_ok() || was_closed) << "nothing was left: " << closed.to_string();
    life->control = nullptr;
    life->is_closed = true;
    take_events(*life);
  }
}

}  // namespace baton_test
