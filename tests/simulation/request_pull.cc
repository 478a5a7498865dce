// A pulled hand-off: the granter is the source and feeds its ReadGrant, the mover reads.
#include <gtest/gtest.h>

#include "tests/simulation/request.h"

namespace baton_test {

using baton::StatusCode;

bool Request::offer_read(baton::PeerId reader, bool may_fail) {
  baton::ReadGrantRequest request;
  request.peer = reader;
  request.cache = granter_.memory->cache(Way::kOut);
  request.target_cache = "in";
  request.tag = tag();
  request.tokens = script_.tokens;
  request.block_lists = source_blocks_;
  request.deadline_ms = script_.deadline_ms;
  request.lease_ms = script_.lease_ms;
  auto grant = granter_.context->offer_read(request);
  if (!grant.is_ok()) {
    EXPECT_TRUE(may_fail && says_ended(grant.status())) << grant.status().to_string();
    return false;
  }
  read_grant_ = std::move(*grant);
  return true;
}

void Request::pull(baton::GrantId grant) {
  baton::PullRequest request;
  request.grant = grant;
  request.cache = mover_.memory->cache(Way::kIn);
  request.block_lists = target_blocks_;
  request.deadline_ms = script_.mover_deadline_ms;
  auto pull = mover_.context->pull(request);
  if (!pull.is_ok()) {
    refuse(pull.status());
    return;
  }
  ++tally_->moved;
  ++tally_->pulls;
  pull_ = std::move(*pull);
  transfer_id_ = pull_.id();
  for (uint32_t layer = 0; layer < pull_.num_layers(); ++layer) gates_.push_back(pull_.gate(layer));
  gate_seen_.assign(gates_.size() + 1, false);
  all_ = pull_.all();
}

void Request::on_read_grant_ended(const baton::Event& event) {
  EXPECT_EQ(check_in_time(), "");
  if (!read_grant_.is_valid()) return;
  EXPECT_EQ(read_grant_.state(), state_of(event.status));
  EXPECT_EQ(read_grant_.status().to_string(), event.status.to_string());
  transfer_record_ = read_grant_.record();
  has_transfer_record_ = true;
}

void Request::on_pull_ended(const baton::Event& event) {
  look_at_gates();
  const bool is_done = event.status.is_ok();
  if (pull_.is_valid()) {
    EXPECT_EQ(pull_.state(), state_of(event.status));
    EXPECT_EQ(pull_.status().to_string(), event.status.to_string());
    grant_record_ = pull_.record();
    has_grant_record_ = true;
  }
  for (const baton::Gate& gate : gates_) {
    EXPECT_TRUE(gate.is_open());
    EXPECT_TRUE(!is_done || gate.poll().is_ok()) << gate.poll().to_string();
  }
  EXPECT_TRUE(all_.is_open());
  EXPECT_EQ(all_.poll().is_ok(), is_done) << all_.poll().to_string();
  EXPECT_EQ(check_in_time(), "");
  EXPECT_EQ(compare({}, !is_done), "") << "at the Pull's end: " << event.status.to_string();
  if (is_done && has_grant_record_) check_units(grant_record_);
}

void Request::check_pull_outcome(bool is_disturbed) const {
  // The source is told by the reader, or not at all.
  if (grant_end_->is_ok()) {
    EXPECT_TRUE(transfer_end_.has_value() && transfer_end_->is_ok());
  }
  if (grant_end_->is_ok() && has_transfer_record_) {
    EXPECT_EQ(transfer_record_.units, units_.size());
  }
  if (is_disturbed || !should_be_done()) return;
  EXPECT_TRUE(transfer_end_.has_value() && transfer_end_->is_ok());
  EXPECT_TRUE(grant_end_->is_ok());
}

}  // namespace baton_test
