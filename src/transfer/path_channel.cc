#include "src/transfer/path_channel.h"

#include <algorithm>
#include <cstring>

#include "src/base/assert.h"
#include "src/base/mutant.h"

namespace baton::transfer {

PathChannel::PathChannel(const Identity& identity, transport::Rail* rail, baton_path* path,
                         uint32_t max_post_bytes)
    : identity_(identity),
      rail_(rail),
      path_(path),
      max_post_bytes_(static_cast<uint32_t>(
          std::min<uint64_t>(max_post_bytes, rail->capabilities().max_message_bytes))),
      max_sources_(std::min(kMaxSources, rail->capabilities().max_sources)),
      covers_prior_(rail->has(BATON_CAP_IMM_COVERS_PRIOR)),
      staged_(new Staged[kStaged]),
      posts_(new baton_post[kStaged]),
      ops_(new Op[kMaxOps]),
      free_ops_(new uint32_t[kMaxOps]),
      credits_granted_(identity.credits) {
  for (uint32_t i = 0; i < kMaxOps; ++i) free_ops_[i] = kMaxOps - 1 - i;
}

PathChannel::~PathChannel() {
  BATON_ASSERT(state_ == PathState::kFenced, "a path is closed after its fence");
  rail_->plugin().path_close(path_);
}

std::string PathChannel::describe() const {
  return "path " + std::to_string(identity_.ordinal) + " (" + rail_->name() + ", epoch " +
         std::to_string(identity_.epoch.value) + ") to peer " +
         std::to_string(identity_.peer.value);
}

PathChannel::Staged& PathChannel::append(baton_post_kind kind, const Piece& piece,
                                         const PieceOwner& owner) {
  Staged& staged = at(tail_++);
  staged.post = baton_post{};
  staged.post.kind = kind;
  staged.post.num_sources = piece.num_sources;
  staged.post.grant = owner.grant;
  staged.post.target_key = piece.target_key;
  staged.post.target_address = piece.target_address;
  staged.post.length_bytes = piece.length_bytes;
  staged.owner = owner.owner;
  staged.units = 0;
  staged.ordinal = 0;
  staged.signal_units = 0;
  staged.batch = 0;
  if (piece.num_sources > 0)
    std::memcpy(staged.sources, piece.sources, piece.num_sources * sizeof(baton_source));
  staged_bytes_ += piece.length_bytes;
  return staged;
}

bool PathChannel::merge(const Piece& piece, const PieceOwner& owner, uint32_t units) {
  if (!covers_prior_ || head_ == tail_) return false;
  Staged& last = at(tail_ - 1);
  if (last.signal_units != 0 || last.owner != owner.owner ||
      last.post.target_key != piece.target_key)
    return false;
  if (last.post.target_address + last.post.length_bytes != piece.target_address) return false;
  if (uint64_t{last.post.length_bytes} + piece.length_bytes > max_post_bytes_) return false;
  baton_source& tail = last.sources[last.post.num_sources - 1];
  const baton_source& first = piece.sources[0];
  const bool adjoins = static_cast<uint8_t*>(tail.address) + tail.length_bytes == first.address &&
                       tail.region == first.region;
  const uint32_t added = piece.num_sources - (adjoins ? 1u : 0u);
  if (last.post.num_sources + added > max_sources_) return false;
  if (adjoins) tail.length_bytes += first.length_bytes;
  std::memcpy(&last.sources[last.post.num_sources], &piece.sources[adjoins ? 1 : 0],
              added * sizeof(baton_source));
  last.post.num_sources += added;
  last.post.length_bytes += piece.length_bytes;
  staged_bytes_ += piece.length_bytes;
  last.units += units;
  return true;
}

void PathChannel::set_immediate(Staged& staged) {
  staged.post.has_immediate = 1;
  staged.post.immediate =
      counter::pack(counter::Immediate{batch_slot_.slot, batch_slot_.generation, batch_units_});
  staged.ordinal = batch_slot_.ordinal;
  staged.signal_units = batch_units_;
}

bool PathChannel::open_batch(const PieceOwner& owner, const SlotRef& slot) {
  if (!has_credit()) return false;
  ++credits_used_;
  batch_open_ = true;
  batch_owner_ = owner.owner;
  batch_slot_ = slot;
  batch_units_ = 0;
  batch_accepted_ = 0;
  ++batch_;
  return true;
}

bool PathChannel::return_credits(uint64_t returned) {
  if (identity_.credits == 0) return true;
  const bool twice = base::mutant_is(base::Mutant::kCreditReturnedTwice);
  const uint64_t granted = identity_.credits + returned * (twice ? 2 : 1);
  if (granted < credits_granted_ || returned > credits_used_) return false;
  credits_granted_ = granted;
  return true;
}

bool PathChannel::stage_unit(const Piece& piece, const PieceOwner& owner, const SlotRef& slot) {
  BATON_ASSERT(piece.num_sources <= max_sources_,
               "the Plan cuts units to fit the path's gather limit");
  if (batch_open_ && (batch_owner_ != owner.owner || !(batch_slot_ == slot) ||
                      batch_units_ == counter::kMaxWeight)) {
    close_batch();
  }
  if (batch_open_ && merge(piece, owner, 1)) {
    ++batch_units_;
    return true;
  }
  if (tail_ - head_ == kStaged) return false;
  if (!batch_open_ && !open_batch(owner, slot)) return false;
  Staged& staged = append(BATON_POST_WRITE, piece, owner);
  staged.units = 1;
  staged.batch = batch_;
  ++batch_units_;
  if (!covers_prior_) close_batch();
  return true;
}

bool PathChannel::stage_signal(const PieceOwner& owner, const SlotRef& slot, uint32_t units) {
  close_batch();
  if (tail_ - head_ == kStaged || !has_credit()) return false;
  ++credits_used_;
  Staged& staged = append(BATON_POST_WRITE, Piece(), owner);
  staged.post.has_immediate = 1;
  staged.post.immediate = counter::pack(counter::Immediate{slot.slot, slot.generation, units});
  staged.ordinal = slot.ordinal;
  staged.signal_units = units;
  return true;
}

bool PathChannel::stage_raw(baton_post_kind kind, const Piece& piece, const PieceOwner& owner) {
  close_batch();
  const bool same_kind = head_ != tail_ && at(tail_ - 1).post.kind == kind;
  if (same_kind && merge(piece, owner, 0)) return true;
  if (tail_ - head_ == kStaged) return false;
  append(kind, piece, owner);
  return true;
}

void PathChannel::close_batch() {
  if (!batch_open_) return;
  batch_open_ = false;
  set_immediate(at(tail_ - 1));
}

void PathChannel::account(const Staged& staged) {
  if (staged.signal_units != 0)
    staged.owner->on_signalled(identity_.ordinal, staged.ordinal, staged.signal_units);
  staged_bytes_ -= staged.post.length_bytes;
  if (identity_.meters != nullptr) {
    identity_.meters->posts.add();
    identity_.meters->posted_bytes.add(staged.post.length_bytes);
    identity_.meters->posted_units.add(staged.units);
    if (staged.signal_units != 0) identity_.meters->immediates.add();
  }
  if (batch_open_ && staged.batch == batch_) batch_accepted_ += staged.units;
}

bool PathChannel::has_staged(const PostOwner* owner) const {
  for (uint32_t i = head_; i != tail_; ++i) {
    if (staged_[i & (kStaged - 1)].owner == owner) return true;
  }
  return false;
}

uint64_t PathChannel::take_op(PostOwner* owner, uint32_t bytes, bool is_flush) {
  const uint32_t index = free_ops_[--num_free_];
  ops_[index] = Op{owner, bytes, is_flush};
  bytes_out_ += bytes;
  return index;
}

void PathChannel::return_op(uint64_t op) {
  BATON_ASSERT(op < kMaxOps && ops_[op].owner != nullptr,
               "a plug-in reports each accepted op once");
  bytes_out_ -= ops_[op].bytes;
  ops_[op].owner = nullptr;
  free_ops_[num_free_++] = static_cast<uint32_t>(op);
}

void PathChannel::op_done(uint64_t op, baton_op_status status) {
  BATON_ASSERT(op < kMaxOps && ops_[op].owner != nullptr,
               "a plug-in reports each accepted op once");
  const Op done = ops_[op];
  return_op(op);
  done.owner->on_op_done(identity_.ordinal, done.is_flush, status);
}

uint32_t PathChannel::push() {
  if (state_ != PathState::kOpen || !can_push()) return 0;
  const uint32_t ready = tail_ - head_ - (batch_open_ ? 1u : 0u);
  uint32_t count = 0;
  while (count < ready && num_free_ > 1) {  // one op stays free for a flush
    Staged& staged = at(head_ + count);
    if (bytes_out_ != 0 && bytes_out_ + staged.post.length_bytes > kWindowBytes) break;
    staged.post.sources = staged.sources;
    staged.post.op = take_op(staged.owner, staged.post.length_bytes, false);
    posts_[count++] = staged.post;
  }
  if (count == 0) return 0;
  const uint32_t first = head_;
  head_ += count;
  // The owners hear of acceptance first: a plug-in may report ops done from within the call.
  uint32_t accepted = 0;
  for (uint32_t i = 0; i < count; ++i)
    at(first + i).owner->on_accepted(identity_.ordinal, at(first + i).post.length_bytes);
  const baton_rc rc = rail_->plugin().post(path_, posts_.get(), count, &accepted);
  BATON_ASSERT(accepted <= count, "a plug-in accepts no more than it was given");
  BATON_ASSERT(rc != BATON_RC_INVALID, "the plug-in calls a post invalid that was checked before");
  for (uint32_t i = accepted; i < count; ++i) {
    at(first + i).owner->on_refused(identity_.ordinal, at(first + i).post.length_bytes);
    return_op(posts_[i].op);
  }
  head_ = first + accepted;
  for (uint32_t i = 0; i < accepted; ++i) account(at(first + i));
  if (rc != BATON_RC_OK && rc != BATON_RC_AGAIN && state_ == PathState::kOpen)
    state_ = PathState::kBroken;
  return accepted;
}

void PathChannel::drop(const PostOwner* owner) {
  // Posts of a batch whose first part is with the plug-in must be followed by its immediate. Posts
  // are accepted in order, so only the batch at the head can be such a one.
  const bool closes_open = batch_open_ && batch_owner_ == owner && batch_accepted_ > 0;
  const bool is_at_head = head_ != tail_ && at(head_).owner == owner;
  const uint64_t kept_batch = is_at_head ? at(head_).batch : 0;
  uint32_t kept = head_;
  bool closed = false;
  for (uint32_t i = head_; i != tail_; ++i) {
    Staged& staged = at(i);
    if (staged.owner == owner) {
      const bool of_open = batch_open_ && staged.batch == batch_;
      if (staged.batch == 0 || staged.batch != kept_batch || closed || (of_open && !closes_open)) {
        staged_bytes_ -= staged.post.length_bytes;
        if (staged.signal_units != 0) --credits_used_;
        continue;
      }
      if (of_open) {
        batch_units_ = batch_accepted_ + staged.units;
        set_immediate(staged);
        closed = true;
      }
    }
    if (kept != i) at(kept) = staged;
    ++kept;
  }
  tail_ = kept;
  if (batch_open_ && batch_owner_ == owner) {
    batch_open_ = false;
    if (!closed) --credits_used_;
  }
}

Status PathChannel::flush(PostOwner* owner) {
  if (num_free_ == 0)
    return Status(StatusCode::kBusy, "flush on " + describe() + ": all ops are out");
  owner->on_accepted(identity_.ordinal, 0);
  const uint64_t op = take_op(owner, 0, true);
  const baton_rc rc = rail_->plugin().flush(path_, 0, op);
  if (rc == BATON_RC_OK) return Status::ok();
  return_op(op);
  owner->on_refused(identity_.ordinal, 0);
  if (rc != BATON_RC_AGAIN && state_ == PathState::kOpen) state_ = PathState::kBroken;
  return transport::status_of(rc, "flush on " + describe(), nullptr);
}

void PathChannel::fence() {
  if (state_ == PathState::kFencing || state_ == PathState::kFenced) return;
  state_ = PathState::kFencing;
  head_ = tail_;
  staged_bytes_ = 0;
  batch_open_ = false;
  rail_->plugin().fence(path_);
}

}  // namespace baton::transfer
