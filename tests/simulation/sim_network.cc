#include "tests/simulation/sim_network.h"

#include <algorithm>

namespace baton_test {

using baton::Status;
using baton::StatusCode;

SimControl* SimNetwork::listener(const std::string& name) const {
  const auto found = listeners_.find(name);
  return found == listeners_.end() ? nullptr : found->second;
}

void SimNetwork::add(SimControl* control) { listeners_[control->name()] = control; }

void SimNetwork::remove(SimControl* control) {
  const auto found = listeners_.find(control->name());
  if (found != listeners_.end() && found->second == control) listeners_.erase(found);
}

SimEnd& SimNetwork::new_end(SimControl* owner) {
  SimEnd& end = ends_[++last_end_];
  end.number = last_end_;
  end.owner = owner;
  return end;
}

SimEnd* SimNetwork::find(uint32_t number) {
  const auto found = ends_.find(number);
  return found == ends_.end() ? nullptr : &found->second;
}

void SimNetwork::drop_end(uint32_t number) { ends_.erase(number); }

int64_t SimNetwork::latency_ns() {
  baton::base::Random& random = world_.random();
  if (random.chance(shape_.slow_percent, 100))
    return static_cast<int64_t>(random.below(static_cast<uint64_t>(shape_.slow_ns) + 1));
  return static_cast<int64_t>(random.between(static_cast<uint64_t>(shape_.latency_min_ns),
                                             static_cast<uint64_t>(shape_.latency_max_ns)));
}

int64_t SimNetwork::arrival_ns(const SimControl& from, const SimControl& to) {
  const std::pair<uint32_t, uint32_t> pair = std::minmax({from.member(), to.member()});
  const auto parted = partitions_.find(pair);
  const int64_t heals_ns = parted == partitions_.end() ? 0 : parted->second;
  return std::max(world_.now_ns(), heals_ns) + latency_ns();
}

void SimNetwork::transmit(SimEnd& from, std::vector<uint8_t> frame) {
  SimEnd* to = find(from.other);
  if (to == nullptr || to->owner == nullptr) return;
  from.last_arrival_ns = std::max(from.last_arrival_ns, arrival_ns(*from.owner, *to->owner));
  world_.note(from.owner->member(), "control sends", from.other, frame.size());
  SimControl* owner = to->owner;
  const uint32_t number = to->number;
  owner->who().at(from.last_arrival_ns, false, [this, number, frame = std::move(frame)] {
    SimEnd* end = find(number);
    if (end == nullptr || end->is_deaf || end->owner == nullptr) return;
    SimControl* hears = end->owner;
    hears->frame_arrived(number, frame);
  });
}

void SimNetwork::partition(uint32_t a, uint32_t b, int64_t until_ns) {
  int64_t& parted = partitions_[std::minmax(a, b)];
  parted = std::max(parted, until_ns);
}

bool SimNetwork::cut(uint32_t a, uint32_t b, bool a_notices, bool b_notices) {
  bool was_one = false;
  for (auto& [number, end] : ends_) {
    const SimEnd* other = find(end.other);
    if (end.owner == nullptr || other == nullptr || other->owner == nullptr) continue;
    if (end.owner->member() != a || other->owner->member() != b) continue;
    was_one = true;
    for (const auto& [who, notices] :
         {std::pair(number, a_notices), std::pair(end.other, b_notices)}) {
      SimEnd* one = find(who);
      one->is_deaf = true;
      if (!notices) continue;
      one->owner->who().at(world_.now_ns() + latency_ns(), false, [this, number = who] {
        SimEnd* lost = find(number);
        if (lost == nullptr || lost->owner == nullptr) return;
        lost->owner->fail(*lost, Status(StatusCode::kPeerLost, "the connection was reset"));
      });
    }
  }
  return was_one;
}

uint64_t SimNetwork::messages_of(const std::string& name) const {
  const auto found = messages_.find(name);
  return found == messages_.end() ? 0 : found->second;
}

}  // namespace baton_test
