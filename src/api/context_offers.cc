// Offers: Grants of peers, from their arrival to their answer or their end.
#include <chrono>
#include <optional>

#include "src/api/context_impl.h"
#include "src/handoff/read_grant_state.h"

namespace baton::api {

namespace {

constexpr int64_t kMsNs = 1'000'000;
// Half of what send() takes. The offers of some hundred Grants of a hundred thousand tokens each.
constexpr size_t kMaxUnsentOfferBytes = control::ControlLimits{}.send_queue_bytes / 2;
// Of one peer's standing offers: as much as of its messages that wait. The default max_live of
// them, each of 16,000 blocks.
constexpr size_t kMaxOfferBytes = handoff::Inbox::kMaxBytes;

// Without what comes in numbers. By layer: a slot, and how many units it has.
constexpr size_t kOfferBytes = 512;
constexpr size_t kOfferBytesPerLayer = 16;

// What the offers of a GrantState and a ReadGrantState have in common.
template <typename Granted>
size_t blocks_offer_bytes(const Granted& grant) {
  size_t bytes = kOfferBytes + grant.tag.size() + grant.num_layers * kOfferBytesPerLayer;
  for (const auto& list : grant.block_lists) bytes += list.size() * sizeof(uint32_t);
  return bytes;
}

}  // namespace

size_t ContextImpl::offer_bytes(const handoff::GrantState& grant) {
  return blocks_offer_bytes(grant) + grant.ranges.size() * sizeof(wire::GrantRange) +
         grant.heads.size() * sizeof(HeadRange);
}

size_t ContextImpl::offer_bytes(const handoff::ReadGrantState& grant) {
  return blocks_offer_bytes(grant);
}

// An offer that does not fit into the queue costs the peer, and by then the caller has its Grant:
// so half of the queue is for what other messages need.
Status ContextImpl::begin_offer(PeerEntry& to, PeerId peer, GrantId grant, size_t bytes) {
  const size_t waiting = control_->unsent_bytes(peer) + to.offer_bytes_due;
  if (waiting > 0 && waiting + bytes > kMaxUnsentOfferBytes) {
    return Status(StatusCode::kBusy, "peer " + std::to_string(peer.value) +
                                         " does not read: " + std::to_string(waiting) +
                                         " bytes of control messages and offers wait for it; "
                                         "retry when it has read some");
  }
  if (to.offers_due.emplace(grant, bytes).second) to.offer_bytes_due += bytes;
  return Status::ok();
}

Status ContextImpl::submit_offer(PeerEntry& to, PeerId peer, GrantId grant, size_t bytes,
                                 handoff::Command command) {
  BATON_RETURN_IF_ERROR(begin_offer(to, peer, grant, bytes));
  Status submitted = engine_->submit(std::move(command));
  if (!submitted.is_ok()) end_offer(peer, grant);
  return submitted;
}

void ContextImpl::end_offer(PeerId peer, GrantId grant) {
  const auto to = peers_.find(peer);
  if (to == peers_.end()) return;
  const auto due = to->second.offers_due.find(grant);
  if (due == to->second.offers_due.end()) return;
  to->second.offer_bytes_due -= due->second;
  to->second.offers_due.erase(due);
}

Status ContextImpl::check_offer(const PeerEntry& from, GrantId grant, size_t bytes) const {
  const std::string who = "grant " + std::to_string(grant.value);
  const std::string keeps = who + ": \"" + options_.name + "\" keeps ";
  if (offers_.count(grant) != 0)
    return Status(StatusCode::kFailedPrecondition, who + " is on offer already");
  if (from.offers >= options_.max_live) {
    return Status(StatusCode::kExhausted,
                  keeps + std::to_string(from.offers) +
                      " offers of one peer (ContextOptions::max_live), and no more");
  }
  if (from.offer_bytes + bytes > kMaxOfferBytes) {
    return Status(StatusCode::kExhausted, keeps + std::to_string(from.offer_bytes) +
                                              " bytes of offers of one peer, and " +
                                              std::to_string(bytes) + " more would be more than " +
                                              std::to_string(kMaxOfferBytes));
  }
  return Status::ok();
}

void ContextImpl::offer_arrived(PeerId peer, wire::GrantOffer message) {
  Event event;
  event.kind = EventKind::kGrantOffered;
  event.peer = peer;
  event.grant = message.grant;
  event.tag = message.tag;
  const GrantId grant = message.grant;
  const bool is_read = message.kind == wire::GrantKind::kKvRead;
  const size_t bytes = handoff::held_bytes(message);
  Status refused;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto from = peers_.find(peer);
    // Of a peer that is gone, but whom a caller still waits for, nothing would take it back.
    if (from == peers_.end() || from->second.phase == PeerPhase::kFailed) return;
    refused = check_offer(from->second, grant, bytes);
    if (refused.is_ok()) {
      ++from->second.offers;
      from->second.offer_bytes += bytes;
      // With the lock held: kPeerDown comes after it, or withdraws it.
      const auto number = events_->push(std::move(event));
      offers_[grant] = Offer{peer, std::move(message), bytes, clock_.now_ns(), false, *number};
    }
  }
  if (!refused.is_ok()) {
    // As a writer that gives up, or a reader: the Grant ends there with this code.
    Status told = is_read ? send(peer, wire::ReadDone{grant, refused.code(), 0, refused.message()})
                          : send(peer, wire::Cancel{grant, refused.code(), refused.message()});
    if (!told.is_ok()) drop_peer(peer, told);
    return;
  }
  state_changed_.notify_all();
}

void ContextImpl::offer_ended(PeerId peer, GrantId grant) {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  const auto found = offers_.find(grant);
  if (found == offers_.end() || found->second.peer != peer) return;
  events_->withdraw(found->second.event);
  const auto from = peers_.find(peer);
  if (from != peers_.end()) {
    --from->second.offers;
    from->second.offer_bytes -= found->second.bytes;
  }
  offers_.erase(found);
}

bool ContextImpl::read_offer_stands(PeerId peer, GrantId grant) {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  const auto found = offers_.find(grant);
  return found != offers_.end() && found->second.peer == peer &&
         found->second.message.kind == wire::GrantKind::kKvRead;
}

bool ContextImpl::offer_stands(PeerId peer, GrantId grant) {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  const auto found = offers_.find(grant);
  return found != offers_.end() && found->second.peer == peer;
}

GrantOffer ContextImpl::public_offer(const Offer& offer) const {
  GrantOffer out;
  out.id = offer.message.grant;
  out.peer = offer.peer;
  out.tag = offer.message.tag;
  out.is_ranges = offer.message.kind == wire::GrantKind::kRanges;
  out.is_read = offer.message.kind == wire::GrantKind::kKvRead;
  out.target_cache = offer.message.target_cache;
  out.source_cache = offer.message.source_cache;
  out.tokens = offer.message.tokens;
  out.heads = offer.message.heads;
  out.num_layers = static_cast<uint32_t>(offer.message.units_per_slot.size());
  for (const uint32_t units : offer.message.units_per_slot) out.units += units;
  for (const auto& range : offer.message.ranges)
    out.ranges.push_back({range.section, range.offset_bytes, range.length_bytes});
  out.allow_read = offer.message.allow_read;
  out.allow_write = offer.message.allow_write;
  return out;
}

Result<GrantOffer> ContextImpl::wait_offer(std::string_view tag, uint32_t timeout_ms) {
  std::optional<GrantOffer> result;
  const auto look = [&] {  // REQUIRES: state_mutex_ held
    const Offer* oldest = nullptr;
    for (const auto& [id, offer] : offers_) {
      if (offer.taken || offer.message.tag != tag) continue;
      if (oldest == nullptr || offer.arrived_ns < oldest->arrived_ns) oldest = &offer;
    }
    if (oldest != nullptr) result = public_offer(*oldest);
    return oldest != nullptr;
  };
  wait_until(
      clock_.now_ns() + int64_t{timeout_ms} * kMsNs,
      [&] {
        const std::lock_guard<std::mutex> lock(state_mutex_);
        return result.has_value() || look();
      },
      [&](int64_t until_ns) {
        std::unique_lock<std::mutex> lock(state_mutex_);
        const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(until_ns)};
        state_changed_.wait_until(lock, until, look);
      });
  if (result.has_value()) return std::move(*result);
  return Status(StatusCode::kDeadlineExceeded, "no Grant with tag \"" + std::string(tag) +
                                                   "\" was offered within " +
                                                   std::to_string(timeout_ms) + " ms");
}

Result<ContextImpl::Offer> ContextImpl::find_offer(GrantId grant) const {
  BATON_RETURN_IF_ERROR(check_open());
  const std::lock_guard<std::mutex> lock(state_mutex_);
  const auto found = offers_.find(grant);
  if (found != offers_.end()) return found->second;
  return Status(StatusCode::kNotFound,
                "grant " + std::to_string(grant.value) + " was not offered here, or has ended");
}

}  // namespace baton::api
