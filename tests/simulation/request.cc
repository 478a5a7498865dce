#include "tests/simulation/request.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "baton/plugin/plugin.h"

namespace baton_test {
namespace {

using baton::State;
using baton::Status;
using baton::StatusCode;
using baton::TokenRange;

constexpr int64_t kMsNs = 1'000'000;
// What the promise says, counted from the deadline or the cancel.
constexpr int64_t kPromisedNs = 2'000 * kMsNs;

State state_of(const Status& status) {
  if (status.is_ok()) return State::kDone;
  return status.code() == StatusCode::kCancelled ? State::kCancelled : State::kFailed;
}

// Answers that a peer's cancel, death or deadline explains.
bool says_ended(const Status& status) {
  return status.code() == StatusCode::kCancelled || status.code() == StatusCode::kNotFound ||
         status.code() == StatusCode::kPeerLost;
}

}  // namespace

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

std::string Request::describe() const {
  const auto end = [](const std::optional<Status>& status) {
    return status.has_value() ? status->to_string() : std::string("not ended");
  };
  return tag() + " (" + baton_test::describe(script_) + "): grant " +
         (grant_id_.has_value() ? end(grant_end_) : "not made") + ", " +
         (is_offered_ ? "offered, " : "not offered, ") + "transfer " +
         (transfer_id_.has_value() ? end(transfer_end_) : "not made");
}

// ---- the granter

bool Request::start(baton::PeerId mover, uint32_t step, bool may_fail) {
  if (!take_memory()) return false;
  opened_step_ = step;
  due_ns_ = *driven_ns_ + int64_t{script_.deadline_ms} * kMsNs;
  if (!open_grant(mover, may_fail)) {
    is_over_ = true;
    release_target();
    release_source();
    return true;
  }
  ++tally_->granted;
  grant_id_ = grant_.id();
  for (uint32_t layer = 0; layer < grant_.num_layers(); ++layer)
    gates_.push_back(grant_.gate(layer));
  gate_seen_.assign(gates_.size() + 1, false);
  all_ = grant_.all();
  return true;
}

bool Request::open_grant(baton::PeerId mover, bool may_fail) {
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
  if (!is_started() || target_released_) return;
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
  if (grant_.is_valid()) {
    EXPECT_EQ(grant_.state(), state_of(event.status));
    EXPECT_EQ(grant_.status().to_string(), event.status.to_string());
    grant_record_ = grant_.record();
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
  release_memory();
}

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

// ---- the mover

bool Request::can_move() const {
  return !mover_died_ && is_offered_ && script_.is_answered && !is_refused_ &&
         !transfer_id_.has_value();
}

void Request::check_offer(const baton::GrantOffer& offer) const {
  EXPECT_EQ(offer.id, *grant_id_);
  EXPECT_EQ(offer.is_ranges, script_.kind != Kind::kPush);
  if (script_.kind == Kind::kPush) {
    EXPECT_EQ(offer.units, units_.size());
    EXPECT_EQ(offer.tokens, script_.tokens);
    EXPECT_EQ(offer.source_cache, mover_.memory->cache(Way::kOut));
  } else {
    EXPECT_EQ(offer.ranges.size(), script_.parts.size());
  }
}

baton::Result<baton::Transfer> Request::push(baton::GrantId grant) {
  baton::PushRequest request;
  request.grant = grant;
  request.cache = mover_.memory->cache(Way::kOut);
  request.block_lists = source_blocks_;
  request.deadline_ms = script_.mover_deadline_ms;
  return mover_.context->push(request);
}

baton::Result<baton::Transfer> Request::move_raw(baton::GrantId grant) {
  const bool is_read = grant_is_source();
  baton::RawRequest request;
  request.grant = grant;
  request.local_section = mover_.memory->raw_section(is_read ? Way::kIn : Way::kOut);
  request.remote_section = granter_.memory->raw_section(is_read ? Way::kOut : Way::kIn);
  const uint32_t local = is_read ? target_slot_ : source_slot_;
  const uint32_t remote = is_read ? source_slot_ : target_slot_;
  for (const RawPart& part : script_.parts)
    request.runs.push_back({local + part.offset, remote + part.offset, part.length});
  for (size_t i = request.runs.size() - 1; i > 0; --i)
    std::swap(request.runs[i], request.runs[random_.below(i + 1)]);
  has_message_ = request.has_message = !is_read && random_.chance(1, 2);
  const std::string text = tag();
  if (has_message_) request.message.assign(text.begin(), text.end());
  request.deadline_ms = script_.mover_deadline_ms;
  return is_read ? mover_.context->read(request) : mover_.context->write(request);
}

void Request::answer() {
  acted_ = true;
  const auto offer = mover_.context->wait_offer(tag(), 0);
  if (!offer.is_ok()) {  // it has ended again
    is_refused_ = true;
    return;
  }
  check_offer(*offer);
  auto transfer = script_.kind == Kind::kPush ? push(offer->id) : move_raw(offer->id);
  if (!transfer.is_ok()) {
    is_refused_ = true;
    const bool is_closed = *mover_.is_closed && transfer.code() == StatusCode::kFailedPrecondition;
    EXPECT_TRUE(is_closed || says_ended(transfer.status())) << transfer.status().to_string();
    return;
  }
  ++tally_->moved;
  transfer_ = std::move(*transfer);
  transfer_id_ = transfer_.id();
  if (script_.kind == Kind::kPush) word_ = *mover_.context->create_progress_word();
}

void Request::submit_next_chunk() {
  acted_ = true;
  baton::ChunkPlan chunk;
  chunk.tokens.begin =
      chunks_done_ == 0 ? script_.tokens.begin : script_.chunks[chunks_done_ - 1].end;
  chunk.tokens.end = script_.chunks[chunks_done_].end;
  if (script_.chunks[chunks_done_].has_word) {
    for (uint32_t i = 0; i < chunks_done_; ++i)
      chunk.base += script_.chunks[i].has_word ? scenario_.layers : 0;
    chunk.word = &word_;
  } else {
    for (uint32_t layer = 0; layer < scenario_.layers; ++layer) finish_layer(chunk.tokens, layer);
  }
  ++chunks_done_;
  const Status submitted = transfer_.submit_chunk(chunk);
  EXPECT_TRUE(submitted.is_ok() || submitted.code() == StatusCode::kCancelled)
      << submitted.to_string();
}

// The next layer of the next chunk with a word becomes final, whether that chunk is submitted yet
// or not.
void Request::tick() {
  acted_ = true;
  const uint32_t layer = ticks_done_ % scenario_.layers;
  uint32_t words_before = ticks_done_ / scenario_.layers;
  TokenRange tokens{script_.tokens.begin, script_.tokens.begin};
  for (const ChunkScript& chunk : script_.chunks) {
    tokens = {tokens.end, chunk.end};
    if (chunk.has_word && words_before-- == 0) break;
  }
  finish_layer(tokens, layer);
  ++ticks_done_;
  // Sometimes two layers are told at once.
  if (ticks_done_ < script_.layers_ticked && random_.chance(1, 4)) return;
  EXPECT_TRUE(word_.advance_to(ticks_done_).is_ok());
}

void Request::seal() {
  acted_ = true;
  finish_all();
  is_sealed_ = true;
  const Status sealed = transfer_.seal();
  EXPECT_TRUE(sealed.is_ok() || sealed.code() == StatusCode::kCancelled) << sealed.to_string();
}

void Request::act(uint32_t step) {
  if (mover_died_ || script_.kind != Kind::kPush || is_sealed_ || !transfer_.is_valid() ||
      step < next_act_)
    return;
  next_act_ = step + 1 + static_cast<uint32_t>(random_.below(script_.pace));
  const bool has_chunk = chunks_done_ < script_.chunks_submitted;
  const bool has_tick = ticks_done_ < script_.layers_ticked;
  if (has_chunk && (!has_tick || random_.chance(1, 3))) {
    submit_next_chunk();
  } else if (has_tick) {
    tick();
  } else if (script_.seals) {
    seal();
  }
}

void Request::on_transfer_ended(const baton::Event& event) {
  EXPECT_FALSE(transfer_end_.has_value()) << "a second end: " << event.status.to_string();
  EXPECT_EQ(event.grant, *grant_id_);
  transfer_end_ = event.status;
  if (event.status.is_ok()) ++tally_->transfers_done;
  if (event.status.code() == StatusCode::kInDoubt) ++tally_->in_doubt;
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

// ---- both

void Request::apply_ending(uint32_t step) {
  const bool is_granters =
      script_.ending == Ending::kGranterCancels || script_.ending == Ending::kGrantDropped;
  if (is_granters ? granter_died_ : mover_died_) return;
  // The normal end of a range grant.
  if (script_.kind != Kind::kPush && transfer_end_.has_value() && !granter_died_ &&
      grant_.is_valid() && grant_.state() == State::kActive) {
    expect_end_from_now();
    acted_ = true;
    grant_.cancel("all is moved");
  }
  if (ending_applied_ || step < opened_step_ + script_.ending_after) return;
  if (waits_for_transfer()) return;
  ending_applied_ = true;
  acted_ = true;
  if (script_.ending == Ending::kNatural) return;
  expect_end_from_now();
  if (script_.ending == Ending::kGranterCancels) grant_.cancel("scripted");
  if (script_.ending == Ending::kMoverCancels) transfer_.cancel("scripted");
  drop_handle();
}

// What the mover's end of the script needs is not there yet.
bool Request::waits_for_transfer() const {
  const bool is_movers =
      script_.ending == Ending::kMoverCancels || script_.ending == Ending::kTransferDropped;
  return is_movers && !transfer_id_.has_value();
}

void Request::drop_handle() {
  if (script_.ending == Ending::kGrantDropped) grant_ = baton::Grant();
  if (script_.ending == Ending::kTransferDropped) transfer_ = baton::Transfer();
}

void Request::step(uint32_t step) {
  if (!is_started() || is_over_) return;
  if (can_move() && !mover_died_) answer();
  act(step);
  apply_ending(step);
  // Everything is said: what is left is Baton's part.
  if (should_be_done() && transfer_id_.has_value() && !is_busy())
    said_ns_ = std::min(said_ns_, *driven_ns_);
  release_memory();
}

// Each side's memory is the test's again at that side's terminal state, and not before.
void Request::release_memory() {
  const bool grant_over = grant_end_.has_value();
  const bool transfer_over =
      transfer_end_.has_value() || (grant_over && !transfer_id_.has_value() && !can_move());
  if (grant_is_source() ? transfer_over : grant_over) release_target();
  if (grant_is_source() ? grant_over : transfer_over) release_source();
  if (grant_over && transfer_over) is_over_ = true;
}

bool Request::is_busy() const {
  if (!is_started() || is_over_ || grant_end_.has_value() || granter_died_ || mover_died_)
    return false;
  const bool acts = transfer_id_.has_value() && !transfer_end_.has_value() && !is_sealed_ &&
                    (chunks_done_ < script_.chunks_submitted ||
                     ticks_done_ < script_.layers_ticked || script_.seals);
  return acts || (script_.ending != Ending::kNatural && !ending_applied_ && !waits_for_transfer());
}

bool Request::should_be_done() const {
  return !granter_died_ && !mover_died_ && script_.is_answered &&
         script_.ending == Ending::kNatural && script_.mover_deadline_ms == 0 &&
         script_.deadline_ms > 1000;
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

void Request::expect_end_from_now() { cancelled_ns_ = std::min(cancelled_ns_, *driven_ns_); }

// Who is cut off from the other side hears of its cancel when that is found dead, or never.
int64_t Request::due_ns() const {
  if (!is_disturbed_) return std::min({due_ns_, said_ns_, cancelled_ns_});
  // A cancel that came too late cancelled nothing: a mover whose completions are lost waits on.
  const bool was_too_late = grant_end_.has_value() && grant_end_->is_ok();
  if (cancelled_ns_ == INT64_MAX || was_too_late) return due_ns_;
  return std::min(due_ns_, cancelled_ns_ + scenario_.found_dead_ns);
}

std::string Request::check_in_time() const {
  if (!is_started() || is_over_ || *driven_ns_ <= due_ns() + kPromisedNs + scenario_.grace_ns)
    return "";
  return "it should have ended " + std::to_string((*driven_ns_ - due_ns()) / kMsNs) + " ms ago";
}

void Request::drop_handles() {
  grant_ = baton::Grant();
  transfer_ = baton::Transfer();
}

void Request::check_record(uint64_t bytes) const {
  EXPECT_EQ(transfer_record_.units, units_.size());
  EXPECT_EQ(transfer_record_.bytes, bytes);
  const bool merges = (scenario_.plan.flags & BATON_CAP_IMM_COVERS_PRIOR) != 0;
  if (script_.kind != Kind::kPush || merges) return;
  EXPECT_EQ(transfer_record_.immediates, units_.size());
  EXPECT_EQ(transfer_record_.posts, units_.size());
}

void Request::check_outcome(bool is_disturbed, bool may_repeat) const {
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
    if (is_push || !may_repeat) {
      EXPECT_NE(end->code(), StatusCode::kInDoubt);
    }
    EXPECT_NE(end->code(), StatusCode::kPathLost);
    EXPECT_NE(end->code(), StatusCode::kPeerLost);
  }
  if (is_push && transfer_end_.has_value()) {
    EXPECT_TRUE(!transfer_end_->is_ok() || grant_end_->is_ok());
    EXPECT_TRUE(!grant_end_->is_ok() || transfer_end_->is_ok() || is_disturbed);
    // One code on both sides; but one that came too late to be heard of has no verdict to adopt.
    const bool was_late =
        transfer_end_->message().find("the Grant has ended") != std::string::npos &&
        (!has_transfer_record_ || transfer_record_.posts == 0);
    if (!is_disturbed && !was_late) {
      EXPECT_EQ(grant_end_->code(), transfer_end_->code());
    }
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
