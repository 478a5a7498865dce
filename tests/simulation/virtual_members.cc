// The members of a run: processes that begin, take turns, die and are closed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/integration/rig.h"
#include "tests/simulation/virtual_run.h"

namespace baton_test {
namespace {

constexpr uint32_t kTagsPerLife = 16;
// A call that waits looks again after so long at the earliest: the world must go on.
constexpr int64_t kShortestSleepNs = 1'000;

std::string name_of(uint32_t seat) { return "member-" + std::to_string(seat); }

}  // namespace

void VirtualRun::make_fabric() {
  baton_loopback_model model;
  baton_loopback_model_init(&model);
  model.seed = world_.random().next();
  model.context = this;
  model.now_ns = [](void* self) { return static_cast<VirtualRun*>(self)->world_.now_ns(); };
  model.wake = [](void* self, uint32_t tag) {
    auto& run = *static_cast<VirtualRun*>(self);
    const Life* life = run.life_of_rail(tag);
    if (life != nullptr && !life->is_dead) run.wake(life->seat);
  };
  model.on_place = [](void* self, const baton_loopback_place* place) {
    auto& run = *static_cast<VirtualRun*>(self);
    run.tally_->placed_bytes += place->length_bytes;
    const Life& life = *run.life_of_rail(place->rail_tag);
    const std::string bad = life.shadow.check(static_cast<const uint8_t*>(place->address),
                                              place->length_bytes, place->grant);
    if (!bad.empty()) {
      ADD_FAILURE() << name_of(life.seat) << ", path " << place->path << ", " << place->length_bytes
                    << " bytes: " << bad;
    }
  };
  model.trace = [](void* self, const char* what, uint32_t path, uint64_t a, uint64_t b) {
    auto& run = *static_cast<VirtualRun*>(self);
    if (std::strcmp(what, "fenced") == 0) ++run.tally_->fences;
    // One that is not connected yet belongs to whoever comes to be connected.
    if (std::strcmp(what, "endpoint closed") == 0 && !run.hurt_path(path))
      run.disturb_links_of(run.life_of_rail(static_cast<uint32_t>(a))->seat);
    run.world_.note(kNobody, what, path, a, b);
    if (std::strncmp(what, "post ", 5) == 0) run.on_post(path);
  };
  fabric_ = baton_loopback_fabric_create_model(&model);
  world_.set_fabric(fabric_);
}

VirtualRun::Life* VirtualRun::life_of_rail(uint32_t rail_tag) const {
  return lives_[rail_tag / kTagsPerLife].get();
}

bool VirtualRun::is_usable(uint32_t seat) const {
  const Life* life = seats_[seat].life;
  return life != nullptr && !life->is_closed && !life->is_dead && seats_[seat].blocked == 0;
}

baton::ContextOptions VirtualRun::options_of(uint32_t seat, const Life& life) const {
  baton::ContextOptions options;
  options.name = name_of(seat);
  options.log_level = baton::LogLevel::kOff;
  if (world_.is_tracing()) {
    options.log_level = baton::LogLevel::kDebug;
    options.log_callback = [this, seat](baton::LogLevel, std::string_view message) {
      world_.tell(seat, "  log: " + std::string(message));
    };
  }
  options.rails.clear();
  for (size_t i = 0; i < scenario_.rails.size(); ++i) {
    baton::RailOptions rail;
    rail.plugin = "loopback";
    rail.settings = scenario_.rails[i] + ",tag=" + std::to_string(life.number * kTagsPerLife + i);
    rail.in_process = fabric_;
    rail.paths = scenario_.paths;
    options.rails.push_back(rail);
  }
  options.progress = baton::ProgressMode::kCaller;
  options.unit_bytes = scenario_.base.unit_bytes;
  options.peer_dead_after_ms = scenario_.dead_after_ms;
  options.max_live = 256;
  options.max_submissions = 256;
  return options;
}

baton::api::Environment VirtualRun::environment_of(Life& life) {
  baton::api::Environment environment;
  environment.clock = life.clock;
  environment.random = [this] { return world_.random().next(); };
  Life* const one = &life;
  environment.sleep = [this, one](int64_t until_ns) { sleep(*one, until_ns); };
  environment.make_control =
      [this, one](
          baton::control::ControlOptions options, baton::control::ControlHandler* handler,
          baton::base::Logger&,
          baton::base::Clock&) -> baton::Result<std::unique_ptr<baton::control::ControlInterface>> {
    SimControl::Member member;
    member.index = one->seat;
    member.clock = one->clock.get();
    member.at = [this, seat = one->seat, number = one->number](int64_t at_ns, bool is_timer,
                                                               std::function<void()> what) {
      at(seat, number, at_ns, is_timer, std::move(what));
    };
    member.wake = [this, seat = one->seat] { wake(seat); };
    member.on_credits = [this, one] {
      // What the peer returns now was waited for.
      if (one->context->dump().find("credits of the receiver") != std::string::npos)
        ++tally_->faults["no_credits"];
    };
    auto control =
        std::make_unique<SimControl>(network_, std::move(member), std::move(options), handler);
    one->control = control.get();
    return std::unique_ptr<baton::control::ControlInterface>(std::move(control));
  };
  return environment;
}

void VirtualRun::begin_life(uint32_t seat) {
  lives_.push_back(std::make_unique<Life>());
  Life& life = *lives_.back();
  life.seat = seat;
  life.number = static_cast<uint32_t>(lives_.size() - 1);
  life.clock = std::make_shared<MemberClock>(world_);
  seats_[seat] = Seat{};
  seats_[seat].life = &life;
  world_.note(seat, "begins", life.number);
  life.impl = require(baton::api::ContextImpl::create(options_of(seat, life), environment_of(life)),
                      "create");
  life.context = baton::api::ContextImpl::as_context(life.impl);
  life.memory = std::make_unique<ContextMemory>(scenario_.base.contexts[seat]);
  life.memory->publish(*life.context);
  wake(seat);
}

// ---- time

void VirtualRun::at(uint32_t seat, uint32_t life, int64_t at_ns, bool is_timer,
                    std::function<void()> what) {
  world_.at(at_ns, [this, seat, life, is_timer, what = std::move(what)]() mutable {
    const Seat& one = seats_[seat];
    if (one.life == nullptr || one.life->number != life) return;
    if (one.frozen_until_ns > world_.now_ns()) {
      // A process that wakes up reads what has arrived before it looks at the time.
      at(seat, life, one.frozen_until_ns + (is_timer ? 1000 : 0), is_timer, std::move(what));
      return;
    }
    what();
  });
}

void VirtualRun::wake(uint32_t seat) {
  const auto longest_ns = static_cast<uint64_t>(scenario_.wake_max_ns);
  schedule_turn(seat,
                world_.now_ns() + static_cast<int64_t>(world_.random().between(100, longest_ns)));
}

void VirtualRun::schedule_turn(uint32_t index, int64_t at_ns) {
  Seat& seat = seats_[index];
  if (at_ns >= seat.turn_ns) return;
  seat.turn_ns = at_ns;
  const uint64_t turn_number = ++seat.turn;
  world_.at(at_ns, [this, index, turn_number, life = seat.life] {
    Seat& one = seats_[index];
    if (one.life != life || one.turn != turn_number) return;
    one.turn_ns = INT64_MAX;
    turn(index);
  });
}

void VirtualRun::turn(uint32_t index) {
  Seat& seat = seats_[index];
  if (!is_usable(index)) return;  // who is blocked drives by itself, and takes a turn after that
  if (seat.frozen_until_ns > world_.now_ns()) {
    schedule_turn(index, seat.frozen_until_ns + 500);
    return;
  }
  Life& life = *seat.life;
  const uint32_t done = life.impl->progress();
  if (done > 0) world_.note(index, "turn", done);
  take_events(life);
  if (seat.life != &life || life.is_closed) return;
  if (done > 0) {
    for (Running& running : requests_) {
      if (running.request == nullptr ||
          (running.request->has_gates_at_mover() ? running.mover : running.granter) != &life)
        continue;
      SCOPED_TRACE(running.request->tag());
      running.request->look_at_gates();
    }
    look_at_group_gates(life);
    const auto longest_ns = static_cast<uint64_t>(scenario_.turn_max_ns);
    schedule_turn(index,
                  world_.now_ns() + static_cast<int64_t>(world_.random().between(200, longest_ns)));
    return;
  }
  const int64_t next_ns = life.impl->next_turn_ns();
  if (next_ns == INT64_MAX) return;
  schedule_turn(index, std::max(life.clock->world_ns(next_ns), world_.now_ns() + kShortestSleepNs));
}

// A call that blocks its member lets the world go on.
void VirtualRun::sleep(Life& life, int64_t until_ns) {
  if (life.clock->is_detached()) {
    life.clock->sleep_until(until_ns);
    return;
  }
  world_.step(std::max(life.clock->world_ns(until_ns), world_.now_ns() + kShortestSleepNs));
}

// ---- the end of a process

// Killed: what it still does is seen by nobody. Its own time runs on without the world's.
void VirtualRun::end_life(Life& life, bool is_told) {
  world_.note(life.seat, is_told ? "killed" : "power lost", life.number);
  disturb_links_of(life.seat);
  life.is_dead = true;
  seats_[life.seat].life = nullptr;
  life.control->kill(is_told);
  life.control = nullptr;
  for (size_t i = 0; i < scenario_.rails.size(); ++i) {
    baton_loopback_fault fault{};
    fault.struct_size = sizeof fault;
    fault.kind = BATON_LOOPBACK_FAULT_DEAD_RAIL;
    fault.rail_tag = static_cast<uint32_t>(life.number * kTagsPerLife + i);
    baton_loopback_fabric_fault(fabric_, &fault);
  }
  life.clock->detach();
  int64_t due_ns = world_.now_ns() + int64_t{scenario_.dead_after_ms} * 1'000'000;
  const bool is_parted =
      std::any_of(scenario_.faults.begin(), scenario_.faults.end(),
                  [](const SimFault& fault) { return fault.kind == SimFaultKind::kPartition; });
  if (is_told && !is_parted) due_ns = world_.now_ns();
  for (Running& running : requests_) {
    if (running.request == nullptr) continue;
    if (running.granter == &life) running.request->on_granter_died(due_ns);
    if (running.mover == &life) running.request->on_mover_died(due_ns);
  }
  for (const auto& [id, group] : life.groups) group->on_granter_died();
  life.context->close(0).ignore();
  life.memory->unpublish();
  life.context.reset();
  life.impl.reset();
}

// The call waits until nobody uses the section: the memory is ours then.
void VirtualRun::renew_section(Life& life, size_t section) {
  world_.note(life.seat, "withdraws a section", section);
  constexpr int64_t kUntilKnownNs = 50'000'000;
  life.renewed_until_ns = INT64_MAX;
  for (Running& running : requests_) {
    if (running.request != nullptr && (running.granter == &life || running.mover == &life))
      running.request->on_renewed();
  }
  ++seats_[life.seat].blocked;
  const baton::Status withdrawn = life.memory->withdraw(section);
  EXPECT_TRUE(withdrawn.is_ok()) << name_of(life.seat) << ": " << withdrawn.to_string();
  take_events(life);
  const Request* user = user_of(life, section);
  EXPECT_EQ(user, nullptr) << user->describe() << " uses section " << section << ", withdrawn";
  if (withdrawn.is_ok()) life.memory->register_again(*life.context, section);
  --seats_[life.seat].blocked;
  life.renewed_until_ns = world_.now_ns() + kUntilKnownNs;
  wake(life.seat);
  tick_at(world_.now_ns() + kStepNs);  // nobody has acted meanwhile
  world_.note(life.seat, "has registered it anew", section);
}

const Request* VirtualRun::user_of(const Life& life, size_t section) const {
  for (const Running& running : requests_) {
    if (running.request == nullptr) continue;
    if ((running.granter == &life && running.request->is_using(true, section)) ||
        (running.mover == &life && running.request->is_using(false, section)))
      return running.request.get();
  }
  return nullptr;
}

// One that is in use, if any is.
size_t VirtualRun::pick_section(const Life& life, uint32_t pick) const {
  std::vector<size_t> used;
  for (size_t section = 0; section < life.memory->num_sections(); ++section) {
    if (user_of(life, section) != nullptr) used.push_back(section);
  }
  return used.empty() ? pick % life.memory->num_sections() : used[pick % used.size()];
}

void VirtualRun::close_life(Life& life) {
  world_.note(life.seat, "closes", life.number);
  disturb_links_of(life.seat);
  ++seats_[life.seat].blocked;
  life.context->close(0).ignore();  // says whether something had to be cancelled
  --seats_[life.seat].blocked;
  life.control = nullptr;
  life.is_closed = true;
  life.peers.clear();
  life.indices.clear();
  take_events(life);
  world_.note(life.seat, "is closed", life.number);
}

}  // namespace baton_test
