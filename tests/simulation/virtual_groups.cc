// Hand-offs of several requests in a run: they start together, and some end as one.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/simulation/virtual_run.h"

namespace baton_test {

bool VirtualRun::can_start_group(const GroupScript& script) const {
  const uint32_t granter = scenario_.base.requests[script.members.front()].granter;
  if (!is_usable(granter) || seats_[granter].frozen_until_ns > world_.now_ns()) return false;
  return std::all_of(script.members.begin(), script.members.end(), [this](uint32_t member) {
    return is_up(links_[requests_[member].link]) &&
           is_usable(scenario_.base.requests[member].mover);
  });
}

void VirtualRun::skip_group(const GroupScript& script) {
  for (const uint32_t member : script.members) requests_[member].is_skipped = true;
}

// As start_request(), for all members at once.
void VirtualRun::start_group(uint32_t index) {
  const GroupScript& script = scenario_.base.groups[index];
  const RequestScript& first = scenario_.base.requests[script.members.front()];
  const int64_t late_ns =
      world_.now_ns() - (start_ns_ + first.start_step * kStepNs + kRequestPatienceNs);
  if (!can_start_group(script)) {
    if (late_ns > 0) skip_group(script);
    return;
  }
  Life* granter = seats_[first.granter].life;
  std::vector<Request*> members;
  std::vector<baton::PeerId> movers;
  std::vector<bool> may_fail;
  for (const uint32_t member : script.members) {
    make_request(member);
    members.push_back(requests_[member].request.get());
    movers.push_back(granter->peers[scenario_.base.requests[member].mover]);
    const bool is_new = is_renewed(*granter) || is_renewed(*requests_[member].mover);
    if (is_new) requests_[member].request->on_renewed();
    may_fail.push_back(links_[requests_[member].link].is_hurt() || is_new);
  }
  groups_[index] = std::make_unique<RequestGroup>(index, scenario_.base, party_of(*granter),
                                                  std::move(members), &tally_->requests);
  RequestGroup& group = *groups_[index];
  SCOPED_TRACE(group.describe());
  if (!group.start(movers, step_number(), may_fail)) {
    if (late_ns > kMemoryPatienceNs) skip_group(script);
    return;
  }
  for (const uint32_t member : script.members) note_started(member);
  if (group.id().has_value()) granter->groups[*group.id()] = &group;
  world_.note(first.granter, "grants a group", index, script.members.size());
}

void VirtualRun::look_at_group_gates(const Life& granter) {
  for (const auto& [id, group] : granter.groups) {
    SCOPED_TRACE(group->tag());
    group->look_at_gates();
  }
}

void VirtualRun::check_group_outcomes() {
  for (const std::unique_ptr<RequestGroup>& group : groups_) {
    if (group != nullptr) group->check_outcome();
  }
}

}  // namespace baton_test
