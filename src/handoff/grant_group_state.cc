#include "src/handoff/grant_group_state.h"

#include <utility>

#include "src/base/assert.h"
#include "src/handoff/grant_state.h"

namespace baton::handoff {

namespace {

// "writer 2 (peer 5)"
std::string writer_text(const GrantState& member) {
  return "writer " + std::to_string(member.group_writer) + " (peer " +
         std::to_string(member.peer.value) + ")";
}

Status of_writer(const GrantState& member, const Status& why) {
  return Status(why.code(), writer_text(member) + ": " + why.message());
}

}  // namespace

std::shared_ptr<GrantGroupState> GrantGroupState::create(GrantGroupId id, std::string tag,
                                                         const std::vector<Member>& members,
                                                         CancelGrant cancel, int64_t now_ns) {
  BATON_ASSERT(!members.empty(), "a group has a Grant");
  auto group = std::make_shared<GrantGroupState>();
  group->id = id;
  group->tag = std::move(tag);
  group->cancel_ = std::move(cancel);
  group->members_left_ = members.size();
  const uint32_t num_layers = members[0].grant->num_layers;
  for (uint32_t layer = 0; layer < num_layers; ++layer) {
    uint32_t slots = 0;
    for (const Member& member : members) {
      if (member.grant->layers[layer].units > 0) ++slots;
    }
    group->layers.push_back(std::make_shared<counter::GateState>(slots, now_ns));
  }
  group->all = std::make_shared<counter::GateState>(static_cast<uint32_t>(members.size()), now_ns);
  for (const Member& member : members) {
    GrantState& grant = *member.grant;
    BATON_ASSERT(grant.num_layers == num_layers, "the Grants of a group are of one layout");
    grant.group = group;
    grant.group_writer = member.writer;
    for (uint32_t layer = 0; layer < num_layers; ++layer) {
      // One that waits for nothing is open already, and was not counted above.
      if (grant.layers[layer].units > 0) grant.layers[layer].gate->set_parent(group->layers[layer]);
    }
    grant.all->set_parent(group->all);
    group->members_.push_back(member.grant);
  }
  return group;
}

void GrantGroupState::fail_gates(const Status& why, int64_t now_ns) {
  for (const auto& gate : layers) gate->fail(why, now_ns);
  all->fail(why, now_ns);
}

void GrantGroupState::member_failed(const GrantState& member, const Status& why, int64_t now_ns) {
  const Status cause = of_writer(member, why);
  if (!life.begin_cancel(cause)) return;
  fail_gates(cause, now_ns);
  for (const auto& weak : members_) {
    const std::shared_ptr<GrantState> sibling = weak.lock();
    if (sibling == nullptr || sibling.get() == &member) continue;
    cancel_(sibling, Status(StatusCode::kCancelled,
                            describe() + " failed: " + std::string(status_code_name(cause.code())) +
                                ": " + cause.message()));
  }
}

bool GrantGroupState::member_ended(const GrantState& member, int64_t now_ns) {
  BATON_ASSERT(members_left_ > 0, "a Grant of the group ends once");
  const Status status = member.life.status();
  if (!status.is_ok()) {
    // Whoever failed it may still be on its way here.
    member_failed(member, status, now_ns);
    if (first_failure_.is_ok()) first_failure_ = of_writer(member, status);
  }
  if (--members_left_ > 0) return false;
  if (first_failure_.is_ok()) {
    const bool completed = life.complete(now_ns);
    BATON_ASSERT(completed, "a group fails only by a Grant that fails");
    return true;
  }
  // The cause, unless another thread is just writing it down: then it may also not have opened the
  // gates yet.
  const Status cause = life.state() == State::kCancelling ? life.status() : first_failure_;
  fail_gates(cause, now_ns);
  life.finish(cause, now_ns);
  return true;
}

std::string GrantGroupState::describe() const {
  return "grant group " + std::to_string(id.value) + (tag.empty() ? "" : " (tag \"" + tag + "\")");
}

}  // namespace baton::handoff
