#include "src/handoff/inbox.h"

#include <variant>

namespace baton::handoff {

namespace {

template <typename T>
size_t bytes_of(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

size_t bytes_of(const wire::GrantOffer& offer) {
  size_t bytes = offer.tag.size() + bytes_of(offer.block_lists) + bytes_of(offer.slots) +
                 bytes_of(offer.units_per_slot) + bytes_of(offer.ranges);
  for (const auto& list : offer.block_lists) bytes += bytes_of(list);
  return bytes;
}

size_t bytes_of(const wire::Quiesced& quiesced) {
  size_t bytes = bytes_of(quiesced.paths);
  for (const auto& path : quiesced.paths) bytes += bytes_of(path.signalled);
  return bytes;
}

size_t bytes_of(const wire::Cancel& cancel) { return cancel.reason.size(); }
size_t bytes_of(const wire::GrantEnd& end) { return end.message.size(); }
size_t bytes_of(const wire::Fenced& fenced) { return bytes_of(fenced.applied); }
size_t bytes_of(const wire::Notify& notify) { return bytes_of(notify.bytes); }
size_t bytes_of(const wire::ReadStart& start) {
  return bytes_of(start.slots) + bytes_of(start.units_per_slot);
}
size_t bytes_of(const wire::ReadDone& done) { return done.message.size(); }
// Of the others either nothing is on the heap, or they do not come this way.
template <typename Other>
size_t bytes_of(const Other&) {
  return 0;
}

}  // namespace

size_t held_bytes(const wire::Message& message) {
  return sizeof(message) + std::visit([](const auto& body) { return bytes_of(body); }, message);
}

size_t held_bytes(const wire::GrantOffer& offer) { return sizeof(wire::Message) + bytes_of(offer); }

std::optional<Inbox::Room> Inbox::take(const std::shared_ptr<Inbox>& inbox,
                                       const wire::Message& message) {
  const size_t bytes = held_bytes(message);
  const size_t waiting = inbox->messages();
  if (waiting == kMaxMessages || (waiting > 0 && inbox->bytes() + bytes > kMaxBytes)) {
    return std::nullopt;
  }
  inbox->messages_.fetch_add(1, std::memory_order_relaxed);
  inbox->bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return Room(inbox, bytes);
}

Inbox::Room::~Room() {
  if (inbox_ == nullptr) return;
  inbox_->bytes_.fetch_sub(bytes_, std::memory_order_relaxed);
  inbox_->messages_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace baton::handoff
