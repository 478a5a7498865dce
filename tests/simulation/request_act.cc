// What each side does, step by step.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/simulation/request_group.h"

namespace baton_test {

using baton::State;
using baton::Status;
using baton::StatusCode;
using baton::TokenRange;

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
  if (script_.kind == Kind::kPull) {
    pull(offer->id);
    return;
  }
  auto transfer = script_.kind == Kind::kPush ? push(offer->id) : move_raw(offer->id);
  if (!transfer.is_ok()) {
    refuse(transfer.status());
    return;
  }
  ++tally_->moved;
  transfer_ = std::move(*transfer);
  transfer_id_ = transfer_.id();
  if (script_.kind == Kind::kPush) word_ = *mover_.context->create_progress_word();
}

void Request::refuse(const Status& why) {
  is_refused_ = true;
  const bool is_closed = *mover_.is_closed && why.code() == StatusCode::kFailedPrecondition;
  EXPECT_TRUE(is_closed || says_ended(why) || (is_renewed_ && says_renewed(why)))
      << why.to_string();
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
  const Status submitted =
      script_.kind == Kind::kPull ? read_grant_.submit_chunk(chunk) : transfer_.submit_chunk(chunk);
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
  const Status sealed = script_.kind == Kind::kPull ? read_grant_.seal() : transfer_.seal();
  EXPECT_TRUE(sealed.is_ok() || sealed.code() == StatusCode::kCancelled) << sealed.to_string();
}

// The source's part of a hand-off. From its end on its memory is somebody else's.
bool Request::feeds() const {
  if (script_.kind == Kind::kPull)
    return !granter_died_ && !grant_end_.has_value() && read_grant_.is_valid();
  return script_.kind == Kind::kPush && !mover_died_ && !transfer_end_.has_value() &&
         transfer_.is_valid();
}

void Request::act(uint32_t step) {
  if (!feeds() || is_sealed_ || step < next_act_) return;
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

// ---- both

void Request::apply_ending(uint32_t step) {
  const bool is_granters =
      script_.ending == Ending::kGranterCancels || script_.ending == Ending::kGrantDropped;
  if (is_granters ? granter_died_ : mover_died_) return;
  // The normal end of a range grant.
  if (!is_handoff() && transfer_end_.has_value() && !granter_died_ && grant_.is_valid() &&
      grant_.state() == State::kActive) {
    expect_end_from_now();
    acted_ = true;
    grant_.cancel("all is moved");
  }
  if (ending_applied_ || step < opened_step_ + script_.ending_after) return;
  if (waits_for_transfer()) return;
  ending_applied_ = true;
  acted_ = true;
  if (script_.ending == Ending::kNatural) return;
  if (is_granters && shares_target()) {
    group_->cancel_as_scripted(script_.ending == Ending::kGrantDropped);
    return;
  }
  expect_end_from_now();
  if (script_.ending == Ending::kGranterCancels) cancel_grant();
  if (script_.ending == Ending::kMoverCancels) cancel_transfer();
  drop_handle();
}

void Request::cancel_grant() {
  if (script_.kind == Kind::kPull) {
    read_grant_.cancel("scripted");
  } else {
    grant_.cancel("scripted");
  }
}

void Request::cancel_transfer() {
  if (script_.kind == Kind::kPull) {
    pull_.cancel("scripted");
  } else {
    transfer_.cancel("scripted");
  }
}

// What the mover's end of the script needs is not there yet.
bool Request::waits_for_transfer() const {
  const bool is_movers =
      script_.ending == Ending::kMoverCancels || script_.ending == Ending::kTransferDropped;
  return is_movers && !transfer_id_.has_value();
}

void Request::drop_handle() {
  if (script_.ending == Ending::kGrantDropped) {
    grant_ = baton::Grant();
    read_grant_ = baton::ReadGrant();
  }
  if (script_.ending == Ending::kTransferDropped) {
    transfer_ = baton::Transfer();
    pull_ = baton::Pull();
  }
}

void Request::step(uint32_t step) {
  if (!is_started() || is_over_) return;
  if (can_move() && !mover_died_) answer();
  act(step);
  apply_ending(step);
  // Everything is said: what is left is Baton's part.
  if (wants_done() && transfer_id_.has_value() && !is_busy())
    said_ns_ = std::min(said_ns_, *driven_ns_);
  release_memory();
}

bool Request::is_busy() const {
  if (!is_started() || is_over_ || grant_end_.has_value() || granter_died_ || mover_died_)
    return false;
  const bool acts = feeds() && !is_sealed_ &&
                    (chunks_done_ < script_.chunks_submitted ||
                     ticks_done_ < script_.layers_ticked || script_.seals);
  return acts || (script_.ending != Ending::kNatural && !ending_applied_ && !waits_for_transfer());
}

bool Request::should_be_done() const {
  return wants_done() && (group_ == nullptr || group_->should_be_done());
}

bool Request::wants_done() const {
  return !granter_died_ && !mover_died_ && !is_renewed_ && script_.is_answered &&
         script_.ending == Ending::kNatural && script_.mover_deadline_ms == 0 &&
         script_.deadline_ms > 1000;
}

void Request::expect_end_from_now() { cancelled_ns_ = std::min(cancelled_ns_, *driven_ns_); }

void Request::drop_handles() {
  read_grant_ = baton::ReadGrant();
  pull_ = baton::Pull();
  grant_ = baton::Grant();
  transfer_ = baton::Transfer();
}

}  // namespace baton_test
