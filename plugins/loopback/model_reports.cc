// progress() of a modelled Path: what software places, and what the host is told.
#include <algorithm>
#include <cstring>

#include "baton/plugin/sdk.h"
#include "plugins/loopback/model_fabric.h"
#include "plugins/loopback/model_path.h"
#include "plugins/loopback/model_rail.h"

namespace baton_loopback {

namespace {

// The address of byte `offset` of what a post gathers, and how many bytes lie there in one piece.
SourceRange locate(const ModelPost& post, uint32_t offset) {
  for (const SourceRange& range : post.sources) {
    if (offset < range.length_bytes) return {range.address + offset, range.length_bytes - offset};
    offset -= range.length_bytes;
  }
  return {nullptr, 0};
}

}  // namespace

// One chunk of a write. False: the path broke.
bool ModelPath::place_chunk(ModelPost& post, uint64_t* budget_bytes) {
  auto bytes = static_cast<uint32_t>(
      std::min<uint64_t>({*budget_bytes, kChunkBytes, post.length_bytes - post.moved_bytes}));
  const uint8_t* source = nullptr;
  if (post.data.empty()) {  // shared memory: from where it lies
    const SourceRange range = locate(post, post.moved_bytes);
    source = range.address;
    bytes = std::min(bytes, range.length_bytes);
  } else {
    source = post.data.data() + post.moved_bytes;
  }
  const baton_host* host = rail_->host();
  const baton_resolved resolved =
      host->resolve(host->context, cookie_, post.grant, post.key, post.address + post.moved_bytes,
                    bytes, BATON_ACCESS_WRITE);
  if (resolved.address == nullptr && resolved.ended == 0) {
    ModelPath* other = peer();
    break_end("the peer wrote outside its grant");
    if (other != nullptr) other->break_end("a write lies outside its grant");
    return false;
  }
  if (resolved.address != nullptr) {
    fabric().on_place({settings().tag, index_, post.grant, resolved.address, bytes, 0});
    std::memcpy(resolved.address, source, bytes);
  }
  post.moved_bytes += bytes;
  *budget_bytes -= bytes;
  return true;
}

// One chunk of a read of the peer's.
bool ModelPath::serve_chunk(ModelPost& post, uint64_t* budget_bytes) {
  const auto bytes = static_cast<uint32_t>(
      std::min<uint64_t>({*budget_bytes, kChunkBytes, post.length_bytes - post.moved_bytes}));
  const baton_host* host = rail_->host();
  const baton_resolved resolved =
      host->resolve(host->context, cookie_, post.grant, post.key, post.address + post.moved_bytes,
                    bytes, BATON_ACCESS_READ);
  if (resolved.address == nullptr) {
    post.is_refused = true;
    post.moved_bytes = post.length_bytes;
    return true;
  }
  const auto* source = static_cast<const uint8_t*>(resolved.address);
  post.data.insert(post.data.end(), source, source + bytes);
  post.moved_bytes += bytes;
  *budget_bytes -= bytes;
  return true;
}

uint32_t ModelPath::take_inbox(uint64_t* budget_bytes) {
  uint32_t things = 0;
  while (!inbox_.empty() && *budget_bytes > 0 && takes_bytes() && !fencing_) {
    const ModelPostPtr post = inbox_.front();
    ModelPath* sender = peer();
    ++things;
    if (post->kind == MessageKind::kFlush) {
      inbox_.pop_front();
      if (sender == nullptr) continue;
      sender->flushes_.push_back(post);
      sender->answer_flushes();
      continue;
    }
    // The writer of shared memory has fenced: what it published is not touched any more.
    const bool is_withdrawn = settings().transport == Transport::kShm &&
                              (sender == nullptr || sender->fencing_ || sender->rail_->is_dead());
    if (is_withdrawn) {
      inbox_.pop_front();
      continue;
    }
    if (post->kind == MessageKind::kRead) {
      serve_chunk(*post, budget_bytes);
      if (post->moved_bytes < post->length_bytes) continue;
      inbox_.pop_front();
      if (sender != nullptr) answer_read(*sender, post);
      continue;
    }
    if (post->length_bytes > 0 && !place_chunk(*post, budget_bytes)) return things;
    if (post->moved_bytes < post->length_bytes) continue;
    inbox_.pop_front();
    trace(post->has_immediate ? "placed with immediate" : "placed", post->sequence,
          post->length_bytes);
    if (post->has_immediate) {
      const baton_host* host = rail_->host();
      host->units_arrived(host->context, cookie_, post->immediate);
    }
    placed(sender, post);
  }
  return things;
}

uint32_t ModelPath::report_all() {
  const baton_host* host = rail_->host();
  uint32_t things = 0;
  // Only those of now: what a report causes is reported next time.
  for (size_t left = reports_.size(); left > 0 && !reports_.empty(); --left, ++things) {
    const Report report = reports_.front();
    reports_.pop_front();
    if (report.is_immediate) {
      ++posted_receives_;
      host->units_arrived(host->context, cookie_, report.immediate);
      continue;
    }
    const auto found = out_.find(report.sequence);
    if (found == out_.end()) continue;
    const ModelPostPtr post = found->second;
    out_.erase(found);
    host->op_done(host->context, cookie_, post->op, report.status);
  }
  return things;
}

uint32_t ModelPath::progress(uint64_t budget_bytes) {
  if (fenced_) return 0;
  if (fencing_) {
    if (!fence_ended_) return 0;
    finish_fence();
    return 1;
  }
  uint64_t read_budget = budget_bytes;
  uint32_t things = 0;
  while (!returns_.empty() && takes_bytes() && read_budget > 0) {
    const ModelPostPtr post = returns_.front();
    const auto bytes = static_cast<uint32_t>(
        std::min<uint64_t>(read_budget, post->length_bytes - post->moved_bytes));
    post->moved_bytes += scatter(*post, post->moved_bytes, post->moved_bytes + bytes);
    read_budget -= bytes;
    ++things;
    if (post->moved_bytes < post->length_bytes) continue;
    returns_.pop_front();
    done(post, BATON_OP_DONE);
  }
  things += take_inbox(&budget_bytes);
  things += report_all();
  if (broken_ && !broken_reported_) {
    broken_reported_ = true;
    rail_->host()->path_broken(rail_->host()->context, cookie_, reason_);
    ++things;
  }
  return things;
}

bool ModelPath::has_work() const {
  if (fenced_) return false;
  if (fencing_) return fence_ended_;
  const bool has_bytes = takes_bytes() && (!inbox_.empty() || !returns_.empty());
  return has_bytes || !reports_.empty() || (broken_ && !broken_reported_);
}

}  // namespace baton_loopback
