// What the ends and the records of a request must be.
#include <gtest/gtest.h>

#include <algorithm>

#include "baton/plugin/plugin.h"
#include "tests/simulation/request.h"

namespace baton_test {

using baton::StatusCode;

namespace {

constexpr int64_t kMsNs = 1'000'000;
// What the promise says, counted from the deadline or the cancel.
constexpr int64_t kPromisedNs = 2'000 * kMsNs;
// What turns, messages and looks at the clock take besides.
constexpr int64_t kLeaseGraceNs = 100 * kMsNs;

bool says_lost(const baton::Status& end) {
  return end.code() == StatusCode::kPeerLost || end.code() == StatusCode::kPathLost ||
         end.code() == StatusCode::kInDoubt;
}

}  // namespace

void Request::check_units(const baton::GrantRecord& record) const {
  uint64_t bytes = 0;
  for (const Piece& piece : pieces_) bytes += piece.expected.size();
  EXPECT_EQ(record.units, units_.size());
  EXPECT_EQ(record.bytes, bytes);
  ASSERT_EQ(record.layers.size(), units_of_layer_.size());
  for (size_t layer = 0; layer < units_of_layer_.size(); ++layer) {
    EXPECT_EQ(record.layers[layer].units, units_of_layer_[layer]) << "layer " << layer;
    EXPECT_LE(record.layers[layer].first_ns, record.layers[layer].placed_ns);
    EXPECT_LE(record.layers[layer].placed_ns, record.layers[layer].opened_ns);
  }
}

void Request::check_offer(const baton::GrantOffer& offer) const {
  EXPECT_EQ(offer.id, *grant_id_);
  EXPECT_EQ(offer.is_ranges, !is_handoff());
  EXPECT_EQ(offer.is_read, script_.kind == Kind::kPull);
  if (is_handoff()) {
    EXPECT_EQ(offer.units, units_.size());
    EXPECT_EQ(offer.tokens, script_.tokens);
    if (shares_target()) {
      EXPECT_EQ(offer.heads, script_.heads);
    }
  }
  if (is_renewed_) return;
  if (script_.kind == Kind::kPush) {
    EXPECT_EQ(offer.source_cache, mover_.memory->cache(Way::kOut));
  } else if (script_.kind == Kind::kPull) {
    EXPECT_EQ(offer.target_cache, mover_.memory->cache(Way::kIn));
  } else {
    EXPECT_EQ(offer.ranges.size(), script_.parts.size());
  }
}

// Who is cut off from the other side hears of its cancel when that is found dead, or never.
int64_t Request::due_ns() const {
  if (!is_disturbed_) return std::min({due_ns_, said_ns_, cancelled_ns_});
  // A cancel that came too late cancelled nothing: a mover whose completions are lost waits on.
  const bool was_too_late = grant_end_.has_value() && grant_end_->is_ok();
  if (cancelled_ns_ == INT64_MAX || was_too_late) return due_ns_;
  return std::min(due_ns_, cancelled_ns_ + scenario_.found_dead_ns);
}

std::string Request::check_in_time() const {
  const int64_t late_ns = *driven_ns_ - kPromisedNs - kLeaseGraceNs;
  if (is_started() && !granter_froze_ && !grant_end_.has_value() && late_ns > granter_lease_ns_)
    return "the granter's lease ran out, and the Grant has not ended";
  if (transfer_id_.has_value() && !mover_froze_ && !transfer_end_.has_value() &&
      late_ns > mover_lease_ns_)
    return "the mover's lease ran out, and its end has not come";
  if (!is_started() || is_over_ || *driven_ns_ <= due_ns() + kPromisedNs + scenario_.grace_ns)
    return "";
  return "it should have ended " + std::to_string((*driven_ns_ - due_ns()) / kMsNs) + " ms ago";
}

void Request::check_record(uint64_t bytes) const {
  EXPECT_EQ(transfer_record_.units, units_.size());
  EXPECT_EQ(transfer_record_.bytes, bytes);
  const bool merges = (scenario_.plan.flags & BATON_CAP_IMM_COVERS_PRIOR) != 0;
  if (script_.kind != Kind::kPush || merges) return;
  EXPECT_EQ(transfer_record_.immediates, units_.size());
  EXPECT_EQ(transfer_record_.posts, units_.size());
}

// Both ends of a hand-off, whichever way the bytes went.
void Request::check_both_ends(Hurt hurt) const {
  const bool is_push = script_.kind == Kind::kPush;
  // DONE on the side that is told is the other one's word.
  const baton::Status& told = is_push ? *transfer_end_ : *grant_end_;
  const baton::Status& verdict = is_push ? *grant_end_ : *transfer_end_;
  EXPECT_TRUE(!told.is_ok() || verdict.is_ok());
  // A cancel or a deadline of a pull may cross what hurts: each side says what it knew first.
  const bool has_crossed = !is_push && !wants_done() && !verdict.is_ok() && !told.is_ok();
  const bool may_cross = hurt != Hurt::kNone && has_crossed;
  // One that came too late to be heard of has no verdict to adopt.
  const bool was_late = is_push &&
                        transfer_end_->message().find("the Grant has ended") != std::string::npos &&
                        (!has_transfer_record_ || transfer_record_.posts == 0);
  if (hurt == Hurt::kOtherwise) {  // they may differ, too, if one has lost the other
    EXPECT_TRUE(verdict.code() == told.code() || was_late || may_cross || says_lost(verdict) ||
                says_lost(told));
    return;
  }
  // With the last Path the connection goes, which who begins just then finds gone.
  const bool is_gone = transfer_end_->code() == StatusCode::kPeerLost &&
                       transfer_end_->message().find("the peer is gone") != std::string::npos;
  const bool was_gone = hurt == Hurt::kLastPath && is_gone;
  if (!was_late && !was_gone && !may_cross) {
    EXPECT_EQ(verdict.code(), told.code());
  }
}

void Request::check_outcome(Hurt hurt, bool may_repeat) const {
  const bool is_disturbed = hurt != Hurt::kNone;
  if (!is_started()) return;
  SCOPED_TRACE(describe());
  ASSERT_TRUE(grant_end_.has_value());
  const bool is_push = script_.kind == Kind::kPush;
  if (granter_died_ || mover_died_) return;  // the other side ended, in time: that is all
  for (const auto& end : {grant_end_, transfer_end_}) {
    if (!end.has_value()) continue;
    // A fault of the core's own would show as one of these.
    EXPECT_NE(end->code(), StatusCode::kProtocolError);
    EXPECT_NE(end->code(), StatusCode::kInternal);
    EXPECT_EQ(end->message().find("protocol error"), std::string::npos);
    EXPECT_EQ(end->message().find("outside its grant"), std::string::npos);
    if (is_disturbed) continue;
    // A cancelled write of plain bytes does not start over when its Path dies.
    if (is_handoff() || !may_repeat) {
      EXPECT_NE(end->code(), StatusCode::kInDoubt);
    }
    EXPECT_NE(end->code(), StatusCode::kPathLost);
    EXPECT_NE(end->code(), StatusCode::kPeerLost);
  }
  if (is_handoff() && transfer_end_.has_value()) check_both_ends(hurt);
  if (script_.kind == Kind::kPull) {
    check_pull_outcome(is_disturbed);
    return;
  }
  // What was settled was counted, and maybe never signalled.
  if (has_grant_record_ && has_transfer_record_ && is_push && !may_repeat) {
    EXPECT_LE(grant_record_.units, transfer_record_.units) << "counted, and never signalled";
    EXPECT_LE(transfer_record_.units, units_.size());
  }
  if (transfer_end_.has_value() && transfer_end_->is_ok() && has_transfer_record_) {
    uint64_t bytes = 0;
    for (const Piece& piece : pieces_) bytes += piece.expected.size();
    EXPECT_LE(transfer_record_.immediates, transfer_record_.posts);
    if (!may_repeat) check_record(bytes);
  }
  if (is_disturbed || !should_be_done()) return;
  EXPECT_TRUE(transfer_end_.has_value() && transfer_end_->is_ok());
  EXPECT_TRUE(!is_push || grant_end_->is_ok());
}

}  // namespace baton_test
