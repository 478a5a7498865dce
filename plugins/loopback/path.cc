#include "plugins/loopback/path.h"

#include <cstring>

#include "plugins/loopback/fabric.h"
#include "plugins/loopback/rail.h"

namespace baton_loopback {
namespace {

// A path's address; only good within the process, so the fabric's own pointer serves to tell
// fabrics apart.
struct Address {
  uint64_t fabric;
  uint64_t epoch;
  uint32_t index;
  uint32_t zero;
};

uint64_t fabric_id(const Fabric* fabric) { return reinterpret_cast<uintptr_t>(fabric); }

size_t ring_capacity(uint32_t at_least) {
  size_t capacity = 1;
  while (capacity < at_least) capacity *= 2;
  return capacity;
}

}  // namespace

Path::~Path() {
  const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
  if (listed_) rail_->fabric()->remove(index_);
}

baton_rc Path::open(const baton_path_options& options, char* error) {
  if (options.max_message_bytes > kMaxMessageBytes) {
    baton_sdk::format_text(error, "loopback: max_message_bytes %u is above this plug-in's limit %u",
                           options.max_message_bytes, kMaxMessageBytes);
    return BATON_RC_INVALID;
  }
  const baton_host* host = rail_->host();
  const uint32_t max_posts = rail_->fabric()->plan().max_posts;
  // Reports: this end's ops, and the immediates of at most the peer's posts of one progress().
  if (!messages_.open(host, max_posts) || !order_.open(host, max_posts) ||
      !reports_.open(host, ring_capacity(2 * max_posts)) || !bounce_.open(host, kChunkBytes)) {
    baton_sdk::format_text(error, "loopback: the host has no memory for %u posts", max_posts);
    return BATON_RC_NO_RESOURCE;
  }
  cookie_ = options.cookie;
  epoch_ = options.epoch;
  max_message_bytes_ =
      options.max_message_bytes == 0 ? kMaxMessageBytes : options.max_message_bytes;
  const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
  index_ = rail_->fabric()->add(this);
  listed_ = true;
  return BATON_RC_OK;
}

void Path::address(uint8_t* out, uint32_t* length_bytes) const {
  const Address address{fabric_id(rail_->fabric()), epoch_, index_, 0};
  std::memcpy(out, &address, sizeof address);
  *length_bytes = sizeof address;
}

baton_rc Path::connect(const uint8_t* peer_address, uint32_t length_bytes, char* error) {
  Address address{};
  if (length_bytes != sizeof address) {
    baton_sdk::format_text(error, "loopback: a path address of %u bytes, expected %zu",
                           length_bytes, sizeof address);
    return BATON_RC_INVALID;
  }
  std::memcpy(&address, peer_address, sizeof address);
  if (address.fabric != fabric_id(rail_->fabric()) || address.index == index_) {
    baton_sdk::format_text(error, "loopback: the address names no peer on this rail's fabric");
    return BATON_RC_INVALID;
  }
  const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
  Path* peer = rail_->fabric()->find(address.index);
  if (peer == nullptr || peer->epoch_ != address.epoch || peer->fenced_ || peer->broken_ ||
      broken_ || fenced_) {
    baton_sdk::format_text(error, "loopback: the peer's path %u is gone", address.index);
    return BATON_RC_BROKEN;
  }
  if (peer_ != nullptr || (peer->peer_ != nullptr && peer->peer_ != this)) {
    baton_sdk::format_text(error, "loopback: path %u or %u is connected already", index_,
                           address.index);
    return BATON_RC_INVALID;
  }
  peer_ = peer;
  peer->rail_->ring();
  return BATON_RC_OK;
}

// Ends the connection at both ends: from here on neither touches the other. Ends that had connected
// to this one, which had not connected to them yet, are told, too: they would go on looking at it
// when it is closed. (One that this end had connected to learns from its own connect().)
void Path::sever(const char* reason, const char* peer_reason) {
  end(reason);
  for (Path* other : rail_->fabric()->paths()) {
    if (other == nullptr || other->peer_ != this) continue;
    other->end(peer_reason);
    other->rail_->ring();
  }
}

void Path::end(const char* reason) {
  peer_ = nullptr;
  bounce_message_ = nullptr;
  if (broken_) return;
  broken_ = true;
  baton_sdk::format_text(reason_, "loopback: %s", reason);
}

void Path::close() { rail_->path_close(this); }

void Path::fence() {
  {
    const std::lock_guard<std::mutex> lock(rail_->fabric()->mutex());
    if (fenced_) return;
    fenced_ = true;
    sever("fenced by its own side", "the peer fenced the path");
    order_count_ = 0;
  }
  // Nobody else reaches this end any more. What completed before the fence is reported as what it
  // was.
  const baton_host* host = rail_->host();
  for (; !reports_.empty(); reports_.pop()) {
    const Report& report = reports_.front();
    if (report.is_immediate) continue;
    host->op_done(host->context, cookie_, report.op, report.status);
  }
  // In post order: the order of slots in the table depends on reuse.
  for (size_t left = messages_.size(); left > 0; --left) {
    Message* oldest = nullptr;
    for (size_t i = 0; i < messages_.size(); ++i) {
      Message& message = messages_[i];
      if (message.in_use && (oldest == nullptr || message.sequence < oldest->sequence)) {
        oldest = &message;
      }
    }
    if (oldest == nullptr) break;
    oldest->in_use = false;
    host->op_done(host->context, cookie_, oldest->op, BATON_OP_IN_DOUBT);
  }
  unfinished_ = 0;
  host->fenced(host->context, cookie_);
}

}  // namespace baton_loopback
