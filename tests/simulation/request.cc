#include "tests/simulation/request.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/simulation/request_group.h"

namespace baton_test {

using baton::State;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr int64_t kMsNs = 1'000'000;

}  // namespace

State Request::state_of(const Status& status) {
  if (status.is_ok()) return State::kDone;
  return status.code() == StatusCode::kCancelled ? State::kCancelled : State::kFailed;
}

bool Request::says_ended(const Status& status) {
  return status.code() == StatusCode::kCancelled || status.code() == StatusCode::kNotFound ||
         status.code() == StatusCode::kPeerLost;
}

bool Request::says_renewed(const Status& status) {
  return status.code() == StatusCode::kNotFound || status.code() == StatusCode::kMismatch ||
         status.code() == StatusCode::kPermissionDenied ||
         status.code() == StatusCode::kFailedPrecondition;
}

Request::Request(uint32_t index, const Scenario& scenario, Party granter, Party mover,
                 const int64_t* driven_ns, Tally* tally)
    : index_(index),
      scenario_(scenario),
      script_(scenario.requests[index]),
      granter_(granter),
      mover_(mover),
      driven_ns_(driven_ns),
      tally_(tally),
      random_(scenario.seed * 1000 + index) {}

std::string Request::tag() const {
  return shares_target() ? group_->tag() : "request-" + std::to_string(index_);
}

const baton::Grant* Request::grant() const {
  if (shares_target()) return group_->grant(*this);
  return grant_.is_valid() ? &grant_ : nullptr;
}

std::string Request::describe() const {
  const auto end = [](const std::optional<Status>& status) {
    return status.has_value() ? status->to_string() : std::string("not ended");
  };
  return "request-" + std::to_string(index_) + " (" + baton_test::describe(script_) + "): grant " +
         (grant_id_.has_value() ? end(grant_end_) : "not made") + ", " +
         (is_offered_ ? "offered, " : "not offered, ") + "transfer " +
         (transfer_id_.has_value() ? end(transfer_end_) : "not made");
}

// ---- the granter

bool Request::start(baton::PeerId mover, uint32_t step, bool may_fail) {
  if (!take_memory()) return false;
  begin(mover, step, may_fail);
  return true;
}

void Request::begin(baton::PeerId mover, uint32_t step, bool may_fail) {
  if (open_grant(mover, may_fail)) {
    begin_granted(step);
  } else {
    give_up();
  }
}

void Request::give_up() {
  is_over_ = true;
  release_target();
  release_source();
}

void Request::begin_granted(uint32_t step) {
  opened_step_ = step;
  due_ns_ = *driven_ns_ + int64_t{script_.deadline_ms} * kMsNs;
  ++tally_->granted;
  if (script_.kind == Kind::kPull) {
    grant_id_ = read_grant_.id();
    word_ = *granter_.context->create_progress_word();
    return;
  }
  const baton::Grant& mine = *grant();
  grant_id_ = mine.id();
  for (uint32_t layer = 0; layer < mine.num_layers(); ++layer) gates_.push_back(mine.gate(layer));
  gate_seen_.assign(gates_.size() + 1, false);
  all_ = mine.all();
}

bool Request::open_grant(baton::PeerId mover, bool may_fail) {
  if (script_.kind == Kind::kPull) return offer_read(mover, may_fail);
  baton::Result<baton::Grant> grant(StatusCode::kInternal, "");
  if (script_.kind == Kind::kPush) {
    baton::GrantRequest request;
    request.peer = mover;
    request.cache = granter_.memory->cache(Way::kIn);
    request.source_cache = "out";
    request.tag = tag();
    request.tokens = script_.tokens;
    request.block_lists = target_blocks_;
    request.deadline_ms = script_.deadline_ms;
    request.lease_ms = script_.lease_ms;
    grant = granter_.context->grant(request);
  } else {
    baton::RangeGrantRequest request;
    request.peer = mover;
    request.tag = tag();
    const Way way = grant_is_source() ? Way::kOut : Way::kIn;
    const uint32_t slot = grant_is_source() ? source_slot_ : target_slot_;
    for (const RawPart& part : script_.parts)
      request.ranges.push_back(
          {granter_.memory->raw_section(way), slot + part.offset, part.length});
    request.allow_read = grant_is_source();
    request.allow_write = !grant_is_source();
    request.deadline_ms = script_.deadline_ms;
    request.lease_ms = script_.lease_ms;
    grant = granter_.context->grant_ranges(request);
  }
  if (!grant.is_ok()) {
    EXPECT_TRUE(may_fail && says_ended(grant.status())) << grant.status().to_string();
    return false;
  }
  grant_ = std::move(*grant);
  return true;
}

void Request::look_at_gates() {
  if (!is_started() || target_released_ || gate_seen_.empty()) return;
  for (uint32_t layer = 0; layer < gates_.size(); ++layer) {
    if (gate_seen_[layer] || !gates_[layer].is_open()) continue;
    gate_seen_[layer] = true;
    if (gates_[layer].poll().is_ok()) {
      EXPECT_EQ(compare(layer, false), "") << "layer " << layer << " is said to have arrived";
    }
  }
  if (gate_seen_.back() || !all_.is_open()) return;
  gate_seen_.back() = true;
  if (all_.poll().is_ok()) {
    EXPECT_EQ(compare({}, false), "") << "everything is said to have arrived";
  }
}

void Request::on_grant_ended(const baton::Event& event) {
  EXPECT_FALSE(grant_end_.has_value()) << "a second end: " << event.status.to_string();
  EXPECT_EQ(event.tag, tag());
  look_at_gates();
  grant_end_ = event.status;
  const bool is_done = event.status.is_ok();
  if (is_done) ++tally_->grants_done;
  if (event.status.code() == StatusCode::kCancelled) ++tally_->cancelled;
  count_lease(event.status);
  if (script_.kind == Kind::kPull) {
    on_read_grant_ended(event);
    release_memory();
    return;
  }
  if (const baton::Grant* mine = grant(); mine != nullptr) {
    EXPECT_EQ(mine->state(), state_of(event.status));
    EXPECT_EQ(mine->status().to_string(), event.status.to_string());
    grant_record_ = mine->record();
    has_grant_record_ = true;
  }
  for (const baton::Gate& gate : gates_) {
    EXPECT_TRUE(gate.is_open());
    EXPECT_TRUE(!is_done || gate.poll().is_ok()) << gate.poll().to_string();
  }
  EXPECT_TRUE(all_.is_open());
  EXPECT_EQ(all_.poll().is_ok(), is_done) << all_.poll().to_string();
  EXPECT_EQ(check_in_time(), "");
  if (!grant_is_source()) {
    const bool is_placed = is_done || (script_.kind == Kind::kWrite && transfer_end_.has_value() &&
                                       transfer_end_->is_ok());
    EXPECT_EQ(compare({}, !is_placed), "") << "at the Grant's end: " << event.status.to_string();
  }
  if (is_done && has_grant_record_) check_units(grant_record_);
  if (group_ != nullptr) group_->on_member_ended(*this, event.status);
  release_memory();
}

// ---- the mover

bool Request::can_move() const {
  return !mover_died_ && is_offered_ && script_.is_answered && !is_refused_ &&
         !transfer_id_.has_value();
}

void Request::on_transfer_ended(const baton::Event& event) {
  EXPECT_FALSE(transfer_end_.has_value()) << "a second end: " << event.status.to_string();
  EXPECT_EQ(event.grant, *grant_id_);
  transfer_end_ = event.status;
  if (event.status.is_ok()) ++tally_->transfers_done;
  if (event.status.code() == StatusCode::kInDoubt) ++tally_->in_doubt;
  count_lease(event.status);
  if (script_.kind == Kind::kPull) {
    on_pull_ended(event);
    release_memory();
    return;
  }
  if (transfer_.is_valid()) {
    EXPECT_EQ(transfer_.state(), state_of(event.status));
    EXPECT_EQ(transfer_.status().to_string(), event.status.to_string());
    transfer_record_ = transfer_.record();
    has_transfer_record_ = true;
    size_t blocks = 0;
    for (const auto& list : target_blocks_) blocks += list.size();
    EXPECT_EQ(transfer_.failed_blocks().size(), event.status.is_ok() ? 0 : blocks);
  }
  EXPECT_EQ(check_in_time(), "");
  const bool is_placed = event.status.is_ok();
  if (!target_released_ && script_.kind != Kind::kPush) {
    EXPECT_EQ(compare({}, !is_placed), "") << "at the Transfer's end: " << event.status.to_string();
  }
  release_memory();
}

void Request::on_message(const baton::Event& event) {
  EXPECT_TRUE(has_message_ && !message_seen_) << "a message that nobody sent, or a second one";
  message_seen_ = true;
  EXPECT_EQ(std::string(event.message.begin(), event.message.end()), tag());
  if (target_released_) return;
  EXPECT_EQ(compare({}, false), "") << "its message is here";
}

// Each side's memory is the test's again at that side's terminal state, and not before.
void Request::release_memory() {
  const bool grant_over = grant_end_.has_value();
  const bool transfer_over =
      transfer_end_.has_value() || (grant_over && !transfer_id_.has_value() && !can_move());
  const bool is_target_quiet = grant_is_source() ? transfer_over : grant_over;
  if (is_target_quiet && shares_target()) {
    close_target();  // the pages are the group's until that ends
  } else if (is_target_quiet) {
    release_target();
  }
  if (grant_is_source() ? grant_over : transfer_over) release_source();
  if (grant_over && transfer_over) is_over_ = true;
}

void Request::count_lease(const Status& end) {
  if (end.message().find("its lease ran out") != std::string::npos) ++tally_->leases_ran_out;
}

int64_t Request::lease_due_ns(int64_t silent_for_ns) const {
  const int64_t lease_ns = int64_t{script_.lease_ms} * kMsNs;
  // Some time more, so that nothing is heard before the cancel has begun.
  const bool runs_out = lease_ns != 0 && silent_for_ns > lease_ns + 100 * kMsNs;
  return runs_out ? *driven_ns_ + lease_ns : INT64_MAX;
}

void Request::on_granter_frozen(int64_t for_ns) {
  granter_froze_ = true;
  mover_lease_ns_ = std::min(mover_lease_ns_, lease_due_ns(for_ns));
}

void Request::on_mover_frozen(int64_t for_ns) {
  mover_froze_ = true;
  granter_lease_ns_ = std::min(granter_lease_ns_, lease_due_ns(for_ns));
}

void Request::on_parted(int64_t for_ns) {
  granter_lease_ns_ = std::min(granter_lease_ns_, lease_due_ns(for_ns));
  mover_lease_ns_ = std::min(mover_lease_ns_, lease_due_ns(for_ns));
}

void Request::on_granter_died(int64_t due_ns) {
  if (!is_started() || is_over_) return;
  granter_died_ = true;
  due_ns_ = std::min(due_ns_, due_ns);
  if (!grant_end_.has_value()) grant_end_ = Status(StatusCode::kPeerLost, "its process was killed");
  release_memory();
}

void Request::on_mover_died(int64_t due_ns) {
  if (!is_started() || is_over_) return;
  mover_died_ = true;
  due_ns_ = std::min(due_ns_, due_ns);
  if (transfer_id_.has_value() && !transfer_end_.has_value())
    transfer_end_ = Status(StatusCode::kPeerLost, "its process was killed");
  release_memory();
}

}  // namespace baton_test
