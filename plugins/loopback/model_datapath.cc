// What is posted on the modelled fabric, and what lands.
#include <algorithm>
#include <cstring>

#include "baton/plugin/sdk.h"
#include "plugins/loopback/model_fabric.h"
#include "plugins/loopback/model_later.h"
#include "plugins/loopback/model_path.h"
#include "plugins/loopback/model_rail.h"

namespace baton_loopback {

namespace {

// A write of hardware lands in so many pieces at most, and a fence may come between two.
constexpr uint64_t kMaxParts = 3;
// How often a post that finds the other end not connected yet tries again.
constexpr int64_t kTryAgainNs = 20'000;

}  // namespace

ModelPostPtr ModelPath::accept(MessageKind kind, uint64_t op) {
  auto post = std::make_shared<ModelPost>();
  post->kind = kind;
  post->op = op;
  post->sequence = next_sequence_++;
  out_.emplace(post->sequence, post);
  return post;
}

baton_rc ModelPath::post(const baton_post* posts, uint32_t count, uint32_t* accepted) {
  *accepted = 0;
  if (broken_ || fencing_ || fenced_) return BATON_RC_BROKEN;
  if (fabric().now_ns() < full_until_ns_) return BATON_RC_AGAIN;
  for (; *accepted < count; ++*accepted) {
    const baton_post& wanted = posts[*accepted];
    bool is_good = check_post(wanted, max_message_bytes_) == nullptr;
    for (uint32_t i = 0; is_good && settings().is_hardware() && i < wanted.num_sources; ++i)
      is_good = rail_->covers(wanted.sources[i]);
    if (!is_good) return BATON_RC_INVALID;
    if (out_.size() >= settings().max_posts) return *accepted == 0 ? BATON_RC_AGAIN : BATON_RC_OK;
    const ModelPostPtr post = accept(
        wanted.kind == BATON_POST_WRITE ? MessageKind::kWrite : MessageKind::kRead, wanted.op);
    post->grant = wanted.grant;
    post->key = wanted.target_key;
    post->address = wanted.target_address;
    post->length_bytes = wanted.length_bytes;
    post->has_immediate = wanted.has_immediate != 0;
    post->immediate = wanted.immediate;
    for (uint32_t i = 0; i < wanted.num_sources; ++i) {
      post->sources.push_back(
          {static_cast<uint8_t*>(wanted.sources[i].address), wanted.sources[i].length_bytes});
    }
    if (post->kind == MessageKind::kWrite) unplaced_.insert(post->sequence);
    trace(post->kind == MessageKind::kRead ? "post read"
          : post->has_immediate            ? "post write with immediate"
                                           : "post write",
          post->sequence, post->length_bytes);
    const uint32_t on_wire = post->kind == MessageKind::kWrite ? post->length_bytes : 0;
    later(rail_->send(on_wire), [post](ModelPath& end) { end.depart(post); });
  }
  return BATON_RC_OK;
}

baton_rc ModelPath::flush(uint64_t op) {
  if (broken_ || fencing_ || fenced_) return BATON_RC_BROKEN;
  if (out_.size() >= settings().max_posts || fabric().now_ns() < full_until_ns_)
    return BATON_RC_AGAIN;
  const ModelPostPtr post = accept(MessageKind::kFlush, op);
  trace("post flush", post->sequence);
  later(rail_->send(0), [post](ModelPath& end) { end.depart(post); });
  return BATON_RC_OK;
}

void ModelPath::depart(const ModelPostPtr& post) {
  if (broken_ || fencing_ || fenced_ || rail_->is_dead()) return;
  const int64_t now_ns = fabric().now_ns();
  if (now_ns < stalled_until_ns_) {
    if (stalled_until_ns_ == INT64_MAX) return;
    later(stalled_until_ns_, [post](ModelPath& end) { end.depart(post); });
    return;
  }
  post->departed_ns = now_ns;
  const bool copies_now = settings().transport != Transport::kShm;
  if (post->kind == MessageKind::kWrite && copies_now) {
    for (const SourceRange& source : post->sources)
      post->data.insert(post->data.end(), source.address, source.address + source.length_bytes);
  }
  if (post->kind == MessageKind::kWrite && settings().transport == Transport::kTcp)
    done(post, BATON_OP_DONE);
  if (is_one_way_) {
    unreachable(post);
    return;
  }
  send_parts(post);
}

// Behind everything sent before on an ordered path.
int64_t ModelPath::arrival_ns() {
  int64_t at_ns = fabric().now_ns() + static_cast<int64_t>(settings().latency_ns) +
                  static_cast<int64_t>(fabric().random(settings().jitter_ns + 1));
  if (settings().is_ordered()) {
    at_ns = std::max(at_ns, last_arrival_ns_);
    last_arrival_ns_ = at_ns;
  }
  return at_ns;
}

void ModelPath::send_parts(const ModelPostPtr& post) {
  uint32_t cuts[kMaxParts + 1] = {0, post->length_bytes};
  post->parts_left = 1;
  if (post->kind == MessageKind::kWrite && settings().is_hardware() && post->length_bytes > 1) {
    post->parts_left = static_cast<uint32_t>(1 + fabric().random(kMaxParts));
    for (uint32_t i = 1; i < post->parts_left; ++i)
      cuts[i] = static_cast<uint32_t>(fabric().random(post->length_bytes));
    cuts[post->parts_left] = post->length_bytes;
    std::sort(cuts, cuts + post->parts_left + 1);
  }
  for (uint32_t i = 0; i < post->parts_left; ++i) {
    const uint32_t from = cuts[i];
    const uint32_t to = cuts[i + 1];
    // By this end's name: its bytes arrive also when it has gone.
    ModelFabric& owner = fabric();
    owner.call_at(arrival_ns(), [&owner, post, from, to, sender = index_, target = peer_index_] {
      ModelPath* end = owner.find(target);
      ModelPath* source = owner.find(sender);
      if (end != nullptr && end->takes_bytes() &&
          (!end->connected_ || end->peer_index_ == sender)) {
        end->peer_index_ = sender;
        end->arrive(post, from, to);
      } else if (source != nullptr) {
        source->unreachable(post);
      }
    });
  }
}

// Nobody answers. Hardware gives up after its retries, streams never.
void ModelPath::unreachable(const ModelPostPtr& post) {
  trace("unreachable", post->sequence);
  if (!settings().is_hardware()) return;
  later(post->departed_ns + static_cast<int64_t>(settings().retry_ns),
        [](ModelPath& end) { end.break_end("the peer does not answer: retries used up"); });
}

void ModelPath::arrive(const ModelPostPtr& post, uint32_t from, uint32_t to) {
  const bool is_behind = settings().is_ordered() && early_posts_ > 0;
  if (settings().is_ordered() && lost_early_post_) {
    if (ModelPath* sender = fabric().find(peer_index_)) sender->unreachable(post);
  } else if (connected_ && !is_behind) {
    take(post, from, to);
  } else {
    // At such a moment itself: behind those that try again at it.
    try_again(post, from, to, (fabric().now_ns() + kTryAgainNs - 1) / kTryAgainNs * kTryAgainNs);
  }
}

// Not ready to receive yet, or behind what came before it was: the sender's retries bring it again,
// all of them at the same times and in their order.
void ModelPath::try_again(const ModelPostPtr& post, uint32_t from, uint32_t to, int64_t at_ns) {
  ++early_posts_;
  ModelFabric& owner = fabric();
  owner.call_at(at_ns, [&owner, post, from, to, name = peer_index_, target = index_] {
    ModelPath* end = owner.find(target);
    ModelPath* source = owner.find(name);
    if (end != nullptr) --end->early_posts_;
    if (source == nullptr) {
      if (end != nullptr) end->lost_early_post_ = true;
      return;
    }
    if (end == nullptr || !end->takes_bytes()) {
      source->unreachable(post);
      return;
    }
    // Streams wait in the kernel.
    const bool is_late =
        source->settings().is_hardware() &&
        owner.now_ns() > post->departed_ns + static_cast<int64_t>(source->settings().retry_ns);
    if (is_late && !end->connected_) end->lost_early_post_ = true;
    if (end->lost_early_post_) {
      source->unreachable(post);
    } else if (end->connected_) {
      end->take(post, from, to);
    } else {
      end->try_again(post, from, to, owner.now_ns() + kTryAgainNs);
    }
  });
}

void ModelPath::take(const ModelPostPtr& post, uint32_t from, uint32_t to) {
  ModelPath* sender = fabric().find(peer_index_);
  if (!settings().is_hardware()) {
    inbox_.push_back(post);
    rail_->wake();
    return;
  }
  switch (post->kind) {
    case MessageKind::kWrite:
      place_part(post, from, to);
      return;
    case MessageKind::kRead:
      if (sender != nullptr) serve_read(*sender, post);
      return;
    case MessageKind::kFlush:
      if (sender == nullptr) return;
      sender->flushes_.push_back(post);
      sender->answer_flushes();
      return;
  }
}

// The NIC asks nobody but its table of keys.
void ModelPath::place_part(const ModelPostPtr& post, uint32_t from, uint32_t to) {
  ModelPath* sender = fabric().find(peer_index_);
  if (to > from) {
    uint8_t* target = rail_->find(post->key, post->address + from, to - from);
    if (target == nullptr) {
      break_both("remote access error: no such region");
      return;
    }
    fabric().on_place({settings().tag, index_, post->grant, target, to - from, 0});
    std::memcpy(target, post->data.data() + from, to - from);
  }
  if (--post->parts_left > 0) return;
  trace(post->has_immediate ? "placed with immediate" : "placed", post->sequence,
        post->length_bytes);
  if (post->has_immediate) {
    if (posted_receives_ == 0) {
      break_both("receiver not ready: an immediate without a posted receive");
      return;
    }
    --posted_receives_;
    reports_.push_back({true, post->immediate, 0, BATON_OP_DONE});
    rail_->wake();
  }
  placed(sender, post);
}

// `sender` null: it has gone.
void ModelPath::placed(ModelPath* sender, const ModelPostPtr& post) {
  if (sender == nullptr) return;
  sender->unplaced_.erase(post->sequence);
  sender->answer_flushes();
  if (sender->settings().transport == Transport::kTcp) return;
  if (is_one_way_) {  // the answer is lost
    sender->unreachable(post);
    return;
  }
  const auto back_ns = static_cast<int64_t>(settings().latency_ns);
  sender->later(fabric().now_ns() + back_ns,
                [post](ModelPath& end) { end.done(post, BATON_OP_DONE); });
}

// Of this end, those whose writes are all placed.
void ModelPath::answer_flushes() {
  for (size_t i = 0; i < flushes_.size();) {
    const ModelPostPtr post = flushes_[i];
    if (!unplaced_.empty() && *unplaced_.begin() < post->sequence) {
      ++i;
      continue;
    }
    flushes_.erase(flushes_.begin() + static_cast<std::ptrdiff_t>(i));
    if (const ModelPath* other = peer(); other != nullptr && other->is_one_way_) {
      unreachable(post);
      continue;
    }
    later(fabric().now_ns() + static_cast<int64_t>(settings().latency_ns),
          [post](ModelPath& end) { end.done(post, BATON_OP_DONE); });
  }
}

void ModelPath::serve_read(ModelPath& sender, const ModelPostPtr& post) {
  const uint8_t* source = rail_->find(post->key, post->address, post->length_bytes);
  if (source == nullptr) {
    break_both("remote access error: no such region");
    return;
  }
  post->data.assign(source, source + post->length_bytes);
  answer_read(sender, post);
}

// From this end, which was asked.
void ModelPath::answer_read(ModelPath& sender, const ModelPostPtr& post) {
  rail_->send(post->length_bytes);
  if (is_one_way_) {
    sender.unreachable(post);
    return;
  }
  sender.later(std::max(rail_->send(0), arrival_ns()),
               [post](ModelPath& end) { end.read_returned(post); });
}

void ModelPath::read_returned(const ModelPostPtr& post) {
  if (!takes_bytes() || out_.count(post->sequence) == 0) return;
  if (post->is_refused) {
    done(post, BATON_OP_REFUSED);
    return;
  }
  if (!settings().is_hardware()) {
    post->moved_bytes = 0;
    returns_.push_back(post);
    rail_->wake();
    return;
  }
  scatter(*post, 0, post->length_bytes);
  done(post, BATON_OP_DONE);
}

// Bytes [from, to) of what a read brought, to where they belong; returns how many of them, those
// that lie there in one piece.
uint32_t ModelPath::scatter(ModelPost& post, uint32_t from, uint32_t to) {
  uint32_t skip = from;
  uint32_t moved = 0;
  for (const SourceRange& range : post.sources) {
    if (skip >= range.length_bytes) {
      skip -= range.length_bytes;
      continue;
    }
    const uint32_t bytes = std::min(range.length_bytes - skip, to - from - moved);
    if (bytes == 0) break;
    fabric().on_place({settings().tag, index_, post.grant, range.address + skip, bytes, 1});
    std::memcpy(range.address + skip, post.data.data() + from + moved, bytes);
    moved += bytes;
    skip = 0;
  }
  return moved;
}

void ModelPath::done(const ModelPostPtr& post, baton_op_status status) {
  if (fenced_ || out_.count(post->sequence) == 0) return;
  // An answer that comes after the break is not for a queue pair in error.
  if (broken_ && settings().is_hardware()) return;
  if (is_half_dead_) {
    trace("its completion is lost", post->sequence);
    return;
  }
  reports_.push_back({false, 0, post->sequence, status});
  rail_->wake();
}

}  // namespace baton_loopback
