#include "plugins/loopback/path.h"

#include <algorithm>
#include <cstring>

#include "plugins/loopback/fabric.h"
#include "plugins/loopback/rail.h"

namespace baton_loopback {

const char* check_post(const baton_post& post, uint32_t max_message_bytes) {
  if (post.kind != BATON_POST_WRITE && post.kind != BATON_POST_READ) return "unknown kind";
  if (post.kind == BATON_POST_READ && post.has_immediate != 0) return "a read has no immediate";
  if (post.length_bytes == 0) {
    if (post.has_immediate == 0) return "length 0 without an immediate";
    return post.num_sources == 0 ? nullptr : "length 0 with sources";
  }
  if (post.length_bytes > max_message_bytes) return "longer than max_message_bytes";
  if (post.num_sources == 0 || post.num_sources > kMaxSources) return "num_sources outside [1, 16]";
  if (post.target_address + post.length_bytes < post.target_address) return "target passes 2^64";
  uint64_t total = 0;
  for (uint32_t i = 0; i < post.num_sources; ++i) {
    if (post.sources[i].address == nullptr) return "a source is null";
    if (post.sources[i].length_bytes == 0) return "a source of length 0";
    total += post.sources[i].length_bytes;
  }
  return total == post.length_bytes ? nullptr : "the sources do not add up to length_bytes";
}

Message& Path::take(MessageKind kind, uint64_t op) {
  uint32_t slot = 0;
  while (messages_[slot].in_use) ++slot;
  Message& message = messages_[slot];
  message = Message{};
  message.kind = kind;
  message.in_use = true;
  message.op = op;
  message.sequence = next_sequence_++;
  const baton_loopback_plan& plan = rail_->fabric()->plan();
  if (plan.delay_max_ns > 0) {
    const uint64_t delay =
        plan.delay_min_ns + rail_->fabric()->random(plan.delay_max_ns - plan.delay_min_ns + 1);
    message.due_ns = rail_->now_ns() + static_cast<int64_t>(delay);
  }
  order_[order_count_++] = slot;
  ++unfinished_;
  return message;
}

baton_rc Path::post(const baton_post* posts, uint32_t count, uint32_t* accepted) {
  *accepted = 0;
  const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
  if (broken_ || fenced_) return BATON_RC_BROKEN;
  const uint32_t receive_depth = rail_->fabric()->plan().receive_depth;
  baton_rc rc = BATON_RC_OK;
  for (; *accepted < count; ++*accepted) {
    const baton_post& post = posts[*accepted];
    if (check_post(post, max_message_bytes_) != nullptr) {
      rc = BATON_RC_INVALID;
      break;
    }
    if (unfinished_ == messages_.size()) {
      if (*accepted == 0) rc = BATON_RC_AGAIN;
      break;
    }
    Message& message =
        take(post.kind == BATON_POST_WRITE ? MessageKind::kWrite : MessageKind::kRead, post.op);
    message.has_immediate = post.has_immediate != 0;
    message.immediate = post.immediate;
    message.num_sources = post.num_sources;
    message.length_bytes = post.length_bytes;
    message.grant = post.grant;
    message.target_key = post.target_key;
    message.target_address = post.target_address;
    for (uint32_t i = 0; i < post.num_sources; ++i) {
      message.sources[i] = {static_cast<uint8_t*>(post.sources[i].address),
                            post.sources[i].length_bytes};
    }
    if (message.has_immediate && ++immediates_in_flight_ > receive_depth && receive_depth > 0) {
      sever("more immediates than the peer's receive depth", "more immediates than receive depth");
      ++*accepted;
      break;
    }
  }
  if (peer_ != nullptr) peer_->rail_->ring();
  return rc;
}

baton_rc Path::flush(uint64_t op) {
  const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
  if (broken_ || fenced_) return BATON_RC_BROKEN;
  if (unfinished_ == messages_.size()) return BATON_RC_AGAIN;
  take(MessageKind::kFlush, op);
  if (peer_ != nullptr) peer_->rail_->ring();
  return BATON_RC_OK;
}

bool Path::due(const Message& message, int64_t now_ns) const {
  const baton_loopback_plan& plan = rail_->fabric()->plan();
  if (plan.stall_path == static_cast<int32_t>(index_) &&
      message.sequence >= plan.stall_after_posts && now_ns < plan.stall_until_ns) {
    return false;
  }
  // One chunk of one read is on its way at a time.
  if (message.kind == MessageKind::kRead && bounce_message_ != nullptr) return false;
  return message.due_ns <= now_ns;
}

// A flush of an unordered path passes nothing that was posted before it.
bool Path::flush_waits(const Message& flush) const {
  return flush.kind == MessageKind::kFlush && messages_[order_[0]].sequence != flush.sequence;
}

Message* Path::pick(int64_t now_ns, bool draw) {
  if (order_count_ == 0) return nullptr;
  if ((rail_->fabric()->plan().flags & BATON_CAP_ORDERED) == 0) return pick_unordered(now_ns, draw);
  Message& oldest = messages_[order_[0]];
  return due(oldest, now_ns) ? &oldest : nullptr;
}

// `draw`: consume randomness; without it any due message answers whether there is one.
Message* Path::pick_unordered(int64_t now_ns, bool draw) {
  Message* first = nullptr;
  uint32_t candidates = 0;
  for (uint32_t i = 0; i < order_count_; ++i) {
    Message& message = messages_[order_[i]];
    if (!due(message, now_ns) || flush_waits(message)) continue;
    if (first == nullptr) first = &message;
    ++candidates;
  }
  Fabric* fabric = rail_->fabric();
  if (!draw || candidates < 2 || fabric->random(100) >= fabric->plan().reorder_percent)
    return first;
  uint64_t skip = fabric->random(candidates);
  for (uint32_t i = 0; i < order_count_; ++i) {
    Message& message = messages_[order_[i]];
    if (!due(message, now_ns) || flush_waits(message)) continue;
    if (skip-- == 0) return &message;
  }
  return first;
}

// The post took effect: its slot waits for the report, or (half dead) for the fence.
void Path::complete(Message& message, baton_op_status status) {
  const auto slot = static_cast<uint32_t>(&message - messages_.data());
  uint32_t* const begin = order_.data();
  std::remove(begin, begin + order_count_, slot);
  --order_count_;
  if (message.has_immediate) --immediates_in_flight_;
  const baton_loopback_plan& plan = rail_->fabric()->plan();
  if (plan.kill_path == static_cast<int32_t>(index_) &&
      plan.kill_mode == BATON_LOOPBACK_KILL_QUIETLY && message.sequence >= plan.kill_after_posts) {
    message.lost = true;
    return;
  }
  message.in_use = false;
  reports_.push() = {false, 0, message.op, status};
  rail_->ring();
}

// Takes one chunk of one post of the peer.
Path::Step Path::step(int64_t now_ns, uint64_t* budget_bytes) {
  if (peer_ == nullptr || peer_->peer_ != this) return Step::kNothing;
  Message* message = peer_->pick(now_ns, true);
  if (message == nullptr) return Step::kNothing;
  const baton_loopback_plan& plan = rail_->fabric()->plan();
  if (plan.kill_path == static_cast<int32_t>(peer_->index_) &&
      plan.kill_mode == BATON_LOOPBACK_KILL_BOTH && message->sequence >= plan.kill_after_posts) {
    sever("killed by the fault plan", "killed by the fault plan");
    return Step::kBroken;
  }
  switch (message->kind) {
    case MessageKind::kWrite:
      return place_write(*message, budget_bytes);
    case MessageKind::kRead:
      return serve_read(*message, budget_bytes);
    case MessageKind::kFlush:
      break;
  }
  peer_->complete(*message, BATON_OP_DONE);
  return Step::kMoved;
}

Path::Step Path::place_write(Message& message, uint64_t* budget_bytes) {
  if (message.length_bytes == 0) {
    reports_.push() = {true, message.immediate, 0, BATON_OP_DONE};
    peer_->complete(message, BATON_OP_DONE);
    return Step::kMoved;
  }
  const SourceRange source = locate(message, message.moved_bytes);
  const auto chunk_bytes =
      static_cast<uint32_t>(std::min<uint64_t>({*budget_bytes, kChunkBytes, source.length_bytes}));
  const baton_host* host = rail_->host();
  const baton_resolved resolved =
      host->resolve(host->context, cookie_, message.grant, message.target_key,
                    message.target_address + message.moved_bytes, chunk_bytes, BATON_ACCESS_WRITE);
  if (resolved.address != nullptr) {
    std::memcpy(resolved.address, source.address, chunk_bytes);
  } else if (resolved.ended == 0) {
    sever("the peer wrote outside its grant", "a write lies outside its grant");
    return Step::kBroken;
  }
  *budget_bytes -= chunk_bytes;
  message.moved_bytes += chunk_bytes;
  if (message.moved_bytes == message.length_bytes) {
    if (message.has_immediate) {
      reports_.push() = {true, message.immediate, 0, BATON_OP_DONE};
    }
    peer_->complete(message, BATON_OP_DONE);
  }
  return Step::kMoved;
}

Path::Step Path::serve_read(Message& message, uint64_t* budget_bytes) {
  const auto chunk_bytes = static_cast<uint32_t>(
      std::min<uint64_t>({*budget_bytes, kChunkBytes, message.length_bytes - message.moved_bytes}));
  const baton_host* host = rail_->host();
  const baton_resolved resolved =
      host->resolve(host->context, cookie_, message.grant, message.target_key,
                    message.target_address + message.moved_bytes, chunk_bytes, BATON_ACCESS_READ);
  if (resolved.address == nullptr) {
    peer_->complete(message, BATON_OP_REFUSED);
    return Step::kMoved;
  }
  std::memcpy(peer_->bounce_.data(), resolved.address, chunk_bytes);
  peer_->bounce_message_ = &message;
  peer_->bounce_bytes_ = chunk_bytes;
  peer_->rail_->ring();
  *budget_bytes -= chunk_bytes;
  return Step::kMoved;
}

// The second half of a read: from this end's bounce buffer to its memory. A chunk that is larger
// than the budget waits in part, by moving the rest to the front.
bool Path::drain_bounce(uint64_t* budget_bytes) {
  if (bounce_message_ == nullptr || *budget_bytes == 0) return false;
  Message& message = *bounce_message_;
  const SourceRange target = locate(message, message.moved_bytes);
  const auto bytes = static_cast<uint32_t>(
      std::min<uint64_t>({*budget_bytes, bounce_bytes_, target.length_bytes}));
  std::memcpy(target.address, bounce_.data(), bytes);
  std::memmove(bounce_.data(), bounce_.data() + bytes, bounce_bytes_ - bytes);
  bounce_bytes_ -= bytes;
  message.moved_bytes += bytes;
  *budget_bytes -= bytes;
  if (bounce_bytes_ > 0) return true;
  bounce_message_ = nullptr;
  if (message.moved_bytes == message.length_bytes) complete(message, BATON_OP_DONE);
  if (peer_ != nullptr) peer_->rail_->ring();
  return true;
}

uint32_t Path::progress(uint64_t budget_bytes) {
  const baton_host* host = rail_->host();
  uint32_t things = 0;
  bool broke = false;
  size_t num_reports = 0;
  {
    const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
    if (fenced_) return 0;
    const int64_t now_ns = rail_->now_ns();
    uint64_t bounce_budget = budget_bytes;
    while (drain_bounce(&bounce_budget)) ++things;
    // Immediates of this call fill at most half of the ring; posts without bytes are bounded by the
    // peer's table.
    while (budget_bytes > 0 && step(now_ns, &budget_bytes) == Step::kMoved) ++things;
    broke = broken_ && !broken_reported_;
    broken_reported_ = broken_;
    num_reports = reports_.size();
  }
  for (; num_reports > 0; --num_reports, ++things) {
    Report report;
    {
      const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
      report = reports_.front();
      reports_.pop();
      if (!report.is_immediate) --unfinished_;
    }
    if (report.is_immediate) {
      host->units_arrived(host->context, cookie_, report.immediate);
    } else {
      host->op_done(host->context, cookie_, report.op, report.status);
    }
  }
  if (broke) {
    host->path_broken(host->context, cookie_, reason_);
    ++things;
  }
  return things;
}

bool Path::has_work() {
  const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
  if (fenced_) return false;
  if (!reports_.empty() || bounce_message_ != nullptr || (broken_ && !broken_reported_))
    return true;
  if (peer_ == nullptr || peer_->peer_ != this) return false;
  return peer_->pick(rail_->now_ns(), false) != nullptr;
}

}  // namespace baton_loopback
