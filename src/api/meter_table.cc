#include "src/api/meter_table.h"

#include "src/base/assert.h"

namespace baton::api {

namespace {

void add(base::Count& to, const base::Count& from) { to.add(from.value()); }

template <size_t N>
void add(std::array<base::Count, N>& to, const std::array<base::Count, N>& from) {
  for (size_t i = 0; i < N; ++i) add(to[i], from[i]);
}

void add(base::PathMeters& to, const base::PathMeters& from) {
  add(to.opened, from.opened);
  add(to.reopened, from.reopened);
  add(to.lost, from.lost);
  add(to.fences, from.fences);
  add(to.posted_bytes, from.posted_bytes);
  add(to.posted_units, from.posted_units);
  add(to.posts, from.posts);
  add(to.immediates, from.immediates);
  add(to.placed_units, from.placed_units);
  add(to.late_units, from.late_units);
  add(to.dropped_units, from.dropped_units);
  add(to.discarded_bytes, from.discarded_bytes);
}

void add(base::PeerMeters& to, const base::PeerMeters& from) {
  for (size_t i = 0; i < kNumRequestKinds; ++i) {
    add(to.requests[i].started, from.requests[i].started);
    add(to.requests[i].ended, from.requests[i].ended);
  }
  // Which place a Path of a folded peer had tells nothing any more.
  for (const base::PathMeters& path : from.paths) add(to.paths[0], path);
  add(to.placed_bytes, from.placed_bytes);
  add(to.quarantined_grants, from.quarantined_grants);
  add(to.quarantined_blocks, from.quarantined_blocks);
  add(to.quarantined_bytes, from.quarantined_bytes);
  add(to.settles_sent, from.settles_sent);
  add(to.settles_applied, from.settles_applied);
  add(to.settled_units_sent, from.settled_units_sent);
  add(to.settled_units_applied, from.settled_units_applied);
  add(to.rewritten_bytes, from.rewritten_bytes);
  add(to.losses, from.losses);
  to.quarantine.add(from.quarantine);
  to.detection.add(from.detection);
  to.fence.add(from.fence);
  to.heartbeat_rtt.add(from.heartbeat_rtt);
  to.grant_time.add(from.grant_time);
}

template <size_t N>
void read(const std::array<base::Count, N>& from, std::array<uint64_t, N>& to) {
  for (size_t i = 0; i < N; ++i) to[i] = from[i].value();
}

PathMetrics read(const base::PathMeters& from, uint32_t path) {
  PathMetrics out;
  out.path = path;
  out.rail = RailIndex(static_cast<uint16_t>(from.rail.load(std::memory_order_relaxed)));
  const char* transport = from.transport.load(std::memory_order_relaxed);
  out.transport = transport == nullptr ? "" : transport;
  out.is_open = from.phase.load(std::memory_order_relaxed) == base::PathPhase::kOpen;
  out.opened = from.opened.value();
  out.reopened = from.reopened.value();
  out.lost = from.lost.value();
  read(from.fences, out.fences);
  out.posted_bytes = from.posted_bytes.value();
  out.posted_units = from.posted_units.value();
  out.posts = from.posts.value();
  out.immediates = from.immediates.value();
  out.placed_units = from.placed_units.value();
  out.late_units = from.late_units.value();
  out.dropped_units = from.dropped_units.value();
  out.discarded_bytes = from.discarded_bytes.value();
  return out;
}

PeerMetrics read(const base::PeerMeters& from) {
  PeerMetrics out;
  out.name = from.name;
  for (size_t i = 0; i < kNumRequestKinds; ++i) {
    out.requests[i].started = from.requests[i].started.value();
    read(from.requests[i].ended, out.requests[i].ended);
  }
  for (uint32_t i = 0; i < from.paths.size(); ++i) {
    const base::PathMeters& path = from.paths[i];
    const bool was_used = path.transport.load(std::memory_order_relaxed) != nullptr;
    if (was_used || path.opened.value() > 0) out.paths.push_back(read(path, i));
  }
  out.placed_bytes = from.placed_bytes.value();
  out.quarantined_grants_total = from.quarantined_grants.value();
  out.quarantined_blocks_total = from.quarantined_blocks.value();
  out.quarantined_bytes_total = from.quarantined_bytes.value();
  out.settles_sent = from.settles_sent.value();
  out.settles_applied = from.settles_applied.value();
  out.settled_units_sent = from.settled_units_sent.value();
  out.settled_units_applied = from.settled_units_applied.value();
  out.rewritten_bytes = from.rewritten_bytes.value();
  read(from.losses, out.losses);
  from.quarantine.add_to(out.quarantine);
  from.detection.add_to(out.detection);
  from.fence.add_to(out.fence);
  from.heartbeat_rtt.add_to(out.heartbeat_rtt);
  from.grant_time.add_to(out.grant_time);
  return out;
}

}  // namespace

std::shared_ptr<base::PeerMeters> MeterTable::open(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Entry& entry = entries_[name];
  if (entry.meters == nullptr) entry.meters = std::make_shared<base::PeerMeters>(name);
  if (entry.connections++ == 0) gone_.erase(entry.left);
  return entry.meters;
}

void MeterTable::close(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = entries_.find(name);
  BATON_ASSERT(found != entries_.end() && found->second.connections > 0,
               "close() follows an open() of the same name");
  if (--found->second.connections > 0) return;
  found->second.left = ++last_left_;
  gone_.emplace(last_left_, name);
  fold_oldest();
}

void MeterTable::fold_oldest() {
  size_t too_many = gone_.size() > kGonePeersKept ? gone_.size() - kGonePeersKept : 0;
  for (auto oldest = gone_.begin(); too_many > 0 && oldest != gone_.end(); --too_many) {
    const auto entry = entries_.find(oldest->second);
    // Requests of that peer are still ending, and would count where nobody reads: next time.
    if (entry->second.meters.use_count() > 1) {
      ++oldest;
      continue;
    }
    // Dropping a reference is an acquire, too: partner of the release with which the last of the
    // others let go of what it had counted.
    std::shared_ptr<base::PeerMeters>(entry->second.meters).reset();
    if (folded_ == nullptr) {
      folded_ = std::make_shared<base::PeerMeters>(std::string(kFoldedPeers));
      folded_->paths[0].transport.store(kFoldedPeers.data(), std::memory_order_relaxed);
    }
    add(*folded_, *entry->second.meters);
    entries_.erase(entry);
    oldest = gone_.erase(oldest);
  }
}

std::vector<PeerMetrics> MeterTable::read() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<PeerMetrics> out;
  out.reserve(entries_.size() + 1);
  for (const auto& [name, entry] : entries_) {
    out.push_back(api::read(*entry.meters));
    out.back().is_up = entry.connections > 0;
  }
  if (folded_ != nullptr) out.push_back(api::read(*folded_));
  return out;
}

size_t MeterTable::size() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return entries_.size() + (folded_ == nullptr ? 0 : 1);
}

}  // namespace baton::api
