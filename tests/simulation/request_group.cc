#include "tests/simulation/request_group.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace baton_test {

using baton::Status;
using baton::StatusCode;

RequestGroup::RequestGroup(uint32_t index, const Scenario& scenario, Party granter,
                           std::vector<Request*> members, Tally* tally)
    : index_(index),
      script_(scenario.groups[index]),
      granter_(granter),
      members_(std::move(members)),
      tally_(tally),
      random_(scenario.seed * 1000 + 500 + index) {
  for (Request* member : members_) member->join(this);
}

std::string RequestGroup::describe() const {
  return tag() + " of " + std::to_string(members_.size()) +
         (is_readers() ? " readers" : " writers") + ": " +
         (end_.has_value() ? end_->to_string() : std::string("not ended"));
}

// ---- memory

bool RequestGroup::take_memory() {
  if (!granter_.memory->take_blocks(way(), script_.tokens, random_, &blocks_)) return false;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i]->take_blocks()) continue;
    give_up(i);
    return false;
  }
  for (Request* member : members_) member->prepare_blocks();
  return true;
}

void RequestGroup::give_up(size_t taken) {
  for (size_t i = 0; i < taken; ++i) members_[i]->give_up_blocks();
  granter_.memory->give_back(way(), blocks_);
}

BlockLists RequestGroup::blocks_of(baton::TokenRange tokens) const {
  if (tokens == script_.tokens) return blocks_;
  BlockLists lists;
  const auto& groups = granter_.memory->side(way()).layout.groups;
  for (size_t g = 0; g < groups.size(); ++g) {
    const uint32_t size = groups[g].block_tokens;
    const uint32_t before = script_.tokens.begin / size;
    const auto first = blocks_[g].begin() + (tokens.begin / size - before);
    const auto last = blocks_[g].begin() + ((tokens.end - 1) / size - before);
    lists.emplace_back(first, last + 1);
  }
  return lists;
}

void RequestGroup::on_source_released() {
  if (!is_readers() || ++sources_released_ < members_.size()) return;
  // Whoever still reads them from now on reads what must not arrive.
  for (Request* member : members_) member->spoil_source();
  granter_.memory->give_back(way(), blocks_);
}

// ---- the granter

bool RequestGroup::start(const std::vector<baton::PeerId>& movers, uint32_t step,
                         const std::vector<bool>& may_fail) {
  if (!take_memory()) return false;
  if (is_readers()) {
    for (size_t i = 0; i < members_.size(); ++i) members_[i]->begin(movers[i], step, may_fail[i]);
    has_grants_ = true;
    ++tally_->shared_sources;
    return true;
  }
  const bool any_may_fail = std::find(may_fail.begin(), may_fail.end(), true) != may_fail.end();
  if (!make_group(movers, any_may_fail)) {
    for (Request* member : members_) member->give_up();
    granter_.memory->give_back(way(), blocks_);
    return true;
  }
  for (Request* member : members_) member->begin_granted(step);
  has_grants_ = true;
  ++tally_->groups;
  return true;
}

bool RequestGroup::make_group(const std::vector<baton::PeerId>& movers, bool may_fail) {
  baton::GrantGroupRequest request;
  request.cache = granter_.memory->cache(Way::kIn);
  request.tag = tag();
  request.tokens = script_.tokens;
  request.block_lists = blocks_;
  request.target_rank = script_.target_rank;
  request.allow_gaps = script_.allow_gaps;
  request.deadline_ms = members_.front()->script().deadline_ms;
  request.lease_ms = members_.front()->script().lease_ms;
  for (size_t i = 0; i < members_.size(); ++i) {
    const RequestScript& script = members_[i]->script();
    request.writers.push_back({movers[i], "out", {}, {}});
    if (script.tokens != script_.tokens) request.writers.back().tokens = script.tokens;
    if (script_.names_heads) request.writers.back().heads = script.heads;
  }
  auto group = granter_.context->grant_group(request);
  if (!group.is_ok()) {
    EXPECT_TRUE(may_fail && Request::says_ended(group.status())) << group.status().to_string();
    return false;
  }
  group_ = std::move(*group);
  id_ = group_.id();
  for (uint32_t layer = 0; layer < group_.num_layers(); ++layer)
    gates_.push_back(group_.gate(layer));
  gate_seen_.assign(gates_.size() + 1, false);
  all_ = group_.all();
  return true;
}

const baton::Grant* RequestGroup::grant(const Request& member) const {
  if (!group_.is_valid()) return nullptr;
  const auto found = std::find(members_.begin(), members_.end(), &member);
  return group_.grant(static_cast<uint32_t>(found - members_.begin()));
}

void RequestGroup::cancel_as_scripted(bool by_handle) {
  if (!group_.is_valid()) return;  // another member's script has dropped it
  for (Request* member : members_) member->expect_end_from_now();
  if (by_handle) {
    drop_handle();
  } else {
    group_.cancel("scripted");
  }
}

void RequestGroup::look_at_gates() {
  if (is_readers() || !has_grants_ || end_.has_value()) return;
  for (uint32_t layer = 0; layer <= gates_.size(); ++layer) {
    const baton::Gate& gate = layer < gates_.size() ? gates_[layer] : all_;
    if (gate_seen_[layer] || !gate.is_open()) continue;
    gate_seen_[layer] = true;
    if (!gate.poll().is_ok()) continue;
    for (const Request* member : members_)
      EXPECT_EQ(member->check_layer(layer < gates_.size() ? std::optional(layer) : std::nullopt),
                "")
          << "layer " << layer << " of " << tag() << " is said to have arrived from all";
  }
}

// The first member that fails takes the others with it, and opens the gates before it ends.
void RequestGroup::on_member_ended(const Request& member, const Status& end) {
  if (is_readers()) return;
  EXPECT_FALSE(end_.has_value()) << "its group has ended: " << member.describe();
  ++members_ended_;
  if (end.is_ok()) return;
  EXPECT_TRUE(all_.is_open() && !all_.poll().is_ok()) << member.describe();
  for (Request* sibling : members_) sibling->expect_end_from_now();
}

void RequestGroup::on_ended(const baton::Event& event) {
  EXPECT_FALSE(end_.has_value()) << "a second end: " << event.status.to_string();
  EXPECT_EQ(event.tag, tag());
  EXPECT_EQ(members_ended_, members_.size()) << "the group ends last";
  look_at_gates();
  end_ = event.status;
  ++(event.status.is_ok() ? tally_->groups_done : tally_->groups_failed);
  if (group_.is_valid()) {
    EXPECT_EQ(group_.state(), Request::state_of(event.status));
    EXPECT_EQ(group_.status().to_string(), event.status.to_string());
  }
  check_gates(event.status);
  check_members(event.status);
  for (Request* member : members_) member->release_target();
  granter_.memory->give_back(way(), blocks_);
}

void RequestGroup::check_gates(const Status& end) const {
  for (const baton::Gate& gate : gates_) {
    EXPECT_TRUE(gate.is_open());
    // A layer that had arrived stays arrived.
    if (!gate.poll().is_ok()) {
      EXPECT_EQ(gate.poll().to_string(), end.to_string());
    }
  }
  EXPECT_TRUE(all_.is_open());
  EXPECT_EQ(all_.poll().to_string(), end.to_string());
}

// Its end is that of the member that failed first; those that had not ended are cancelled for it.
void RequestGroup::check_members(const Status& end) const {
  if (end.is_ok()) {
    for (const Request* member : members_) EXPECT_TRUE(member->grant_end()->is_ok());
    return;
  }
  bool has_cause = false;
  for (size_t i = 0; i < members_.size(); ++i) {
    const std::optional<Status>& one = members_[i]->grant_end();
    if (!one.has_value() || one->is_ok()) continue;
    const bool is_named = end.message().find("writer " + std::to_string(i) + " (peer ") == 0;
    const bool is_cause = is_named && one->code() == end.code();
    has_cause = has_cause || is_cause;
    const bool is_sibling = one->code() == StatusCode::kCancelled &&
                            one->message().find("grant group ") != std::string::npos;
    EXPECT_TRUE(is_cause || is_sibling)
        << members_[i]->describe() << " in " << tag() << ": " << end.to_string();
  }
  EXPECT_TRUE(has_cause) << end.to_string();
}

bool RequestGroup::should_be_done() const {
  if (is_readers()) return true;
  return std::all_of(members_.begin(), members_.end(), [](const Request* member) {
    return member->wants_done() && !member->is_disturbed();
  });
}

void RequestGroup::check_outcome() const {
  if (is_readers() || !has_grants_ || is_granter_dead_) return;
  ASSERT_TRUE(end_.has_value()) << describe();
  if (should_be_done()) {
    EXPECT_TRUE(end_->is_ok()) << describe();
  }
}

}  // namespace baton_test
