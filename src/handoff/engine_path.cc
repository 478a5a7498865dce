// The life of a Path: opened on command, looked after between turns, fenced, closed. Plug-in
// callbacks only take notes here; what follows from them happens in look_after_path, outside of the
// plug-in's calls.
#include <algorithm>

#include "src/base/assert.h"
#include "src/handoff/engine.h"

namespace baton::handoff {

namespace {

// With one Path per peer its ordinal is 0.
constexpr uint32_t kOnlyPath = 0;

// A peer that dies takes its Path and its control connection with it, in either order of notice. A
// broken Path waits this long for the other news, so that a death has one code (PEER_LOST) always.
constexpr int64_t kDeathNewsNs = 50'000'000;

transport::Rail* rail_at(const std::vector<transport::Rail*>& rails, RailIndex index) {
  return index.value < rails.size() ? rails[index.value] : nullptr;
}

}  // namespace

// One for each link: it has one Path in its life.
uint64_t Engine::take_cookie(Link& link) {
  if (link.cookie != 0) return link.cookie;
  if (free_cookies_.empty()) {
    free_cookies_.push_back(static_cast<uint32_t>(cookies_.size()));
    cookies_.emplace_back();
  }
  const uint32_t index = free_cookies_.back();
  free_cookies_.pop_back();
  cookies_[index].link = &link;
  link.cookie = uint64_t{cookies_[index].generation} << 32 | index;
  return link.cookie;
}

void Engine::return_cookie(Link& link) {
  if (link.cookie == 0) return;
  const auto index = static_cast<uint32_t>(link.cookie);
  cookies_[index].link = nullptr;
  ++cookies_[index].generation;
  free_cookies_.push_back(index);
  link.cookie = 0;
}

Engine::Link* Engine::link_of(uint64_t cookie) {
  const auto index = static_cast<uint32_t>(cookie);
  if (index >= cookies_.size()) return nullptr;
  Link* link = cookies_[index].link;
  return link != nullptr && link->cookie == cookie ? link : nullptr;
}

transfer::PathChannel* Engine::channel_of(uint64_t cookie) {
  const Link* link = link_of(cookie);
  return link != nullptr ? link->channel.get() : nullptr;
}

void Engine::path_failed(Link& link, const Status& why) {
  logger_.warning("peer {}: no path: {}", link.peer.value, why.message());
  output_->path_ready(link.peer, why);
  output_->drop_peer(link.peer, why);
}

void Engine::adopt_path(Link& link, transport::Rail* rail, baton_path* path, PathEpoch epoch) {
  transfer::PathChannel::Identity identity;
  identity.peer = link.peer;
  identity.epoch = epoch;
  identity.cookie = link.cookie;
  identity.ordinal = kOnlyPath;
  link.channel = std::make_unique<transfer::PathChannel>(identity, rail, path, link.unit_bytes);
  link.had_path = true;
  link.path_epoch = epoch;
}

void Engine::path_opened(Link& link) {
  logger_.info("{} is open", link.channel->describe());
  output_->path_ready(link.peer, Status::ok());
}

// The rail opened the path and could not connect it: it is fenced as any other, with the peer's
// end.
void Engine::path_unconnected(Link& link, const Status& why) {
  link.broken_why = why.message();
  link.channel->set_state(transfer::PathState::kBroken);
  path_failed(link, why);
}

void Engine::open_stream_path(OpenStreamPath& command) {
  Link* link = find_link(command.peer);
  transport::Rail* rail = rail_at(rails_, command.rail);
  if (link == nullptr || !link->up || link->had_path || rail == nullptr) return;
  baton_path_options options{};
  options.struct_size = sizeof(options);
  options.cookie = take_cookie(*link);
  options.epoch = command.epoch.value;
  options.stream_fd = command.stream.get();
  options.max_message_bytes = link->unit_bytes;
  char error[BATON_ERROR_BYTES] = {};
  baton_path* path = nullptr;
  const baton_rc rc = rail->plugin().path_open(rail->handle(), &options, &path, error);
  if (rc != BATON_RC_OK) {
    path_failed(*link, transport::status_of(rc, "opening a path on rail " + rail->name(), error));
    return;
  }
  (void)command.stream.release();  // the plug-in's from here on
  adopt_path(*link, rail, path, command.epoch);
  path_opened(*link);
}

void Engine::open_addressed_path(OpenAddressedPath& command) {
  Link* link = find_link(command.peer);
  transport::Rail* rail = rail_at(rails_, command.rail);
  if (link == nullptr || !link->up || link->had_path || link->opening != nullptr || rail == nullptr)
    return;
  baton_path_options options{};
  options.struct_size = sizeof(options);
  options.cookie = take_cookie(*link);
  options.epoch = command.epoch.value;
  options.stream_fd = -1;
  options.max_message_bytes = link->unit_bytes;
  char error[BATON_ERROR_BYTES] = {};
  baton_path* path = nullptr;
  baton_rc rc = rail->plugin().path_open(rail->handle(), &options, &path, error);
  if (rc != BATON_RC_OK) {
    path_failed(*link, transport::status_of(rc, "opening a path on rail " + rail->name(), error));
    return;
  }
  std::vector<uint8_t> address(BATON_MAX_ADDRESS_BYTES);
  uint32_t length = 0;
  rc = rail->plugin().path_address(path, address.data(), &length);
  BATON_ASSERT(rc == BATON_RC_OK && length <= BATON_MAX_ADDRESS_BYTES,
               "an open path has an address");
  address.resize(length);
  if (!command.asked) {
    link->opening = path;
    link->opening_rail = rail;
    send_or_drop(*link, wire::PathRequest{command.epoch, command.rail, command.peer_rail,
                                          std::move(address)});
    return;
  }
  rc = rail->plugin().path_connect(path, command.peer_address.data(),
                                   static_cast<uint32_t>(command.peer_address.size()), error);
  adopt_path(*link, rail, path, command.epoch);
  wire::PathReply reply;
  reply.epoch = command.epoch;
  reply.code = rc == BATON_RC_OK ? StatusCode::kOk : StatusCode::kPathLost;
  reply.error = error;
  reply.address = std::move(address);
  send_or_drop(*link, reply);
  if (rc == BATON_RC_OK) {
    path_opened(*link);
  } else {
    path_unconnected(*link,
                     transport::status_of(rc, "connecting a path on rail " + rail->name(), error));
  }
}

void Engine::connect_path(ConnectPath& command) {
  Link* link = find_link(command.peer);
  if (link == nullptr || link->opening == nullptr) return;
  baton_path* path = std::exchange(link->opening, nullptr);
  transport::Rail* rail = std::exchange(link->opening_rail, nullptr);
  char error[BATON_ERROR_BYTES] = {};
  const baton_rc rc = rail->plugin().path_connect(
      path, command.peer_address.data(), static_cast<uint32_t>(command.peer_address.size()), error);
  adopt_path(*link, rail, path, command.epoch);
  if (rc == BATON_RC_OK) {
    path_opened(*link);
  } else {
    path_unconnected(*link,
                     transport::status_of(rc, "connecting a path on rail " + rail->name(), error));
  }
}

void Engine::on_path_broken(uint64_t path_cookie, const char* reason) {
  ++ready_layers_;
  transfer::PathChannel* channel = channel_of(path_cookie);
  if (channel == nullptr) return;
  Link& link = *link_of(path_cookie);
  if (channel->state() == transfer::PathState::kOpen)
    channel->set_state(transfer::PathState::kBroken);
  if (link.broken_why.empty()) link.broken_why = reason != nullptr ? reason : "no reason given";
}

void Engine::on_fenced(uint64_t path_cookie) {
  ++ready_layers_;
  transfer::PathChannel* channel = channel_of(path_cookie);
  if (channel != nullptr) channel->set_state(transfer::PathState::kFenced);
}

void Engine::on_op_done(uint64_t path_cookie, uint64_t op, baton_op_status status) {
  ++ready_layers_;
  transfer::PathChannel* channel = channel_of(path_cookie);
  BATON_ASSERT(channel != nullptr, "ops are reported on live paths");
  channel->op_done(op, status);
}

void Engine::fence_path(Link& link, const Status& why, int64_t now_ns) {
  link.fence_wanted = false;
  link.fence_why = why;
  fail_requests(link, why, now_ns);
  if (link.opening != nullptr) {
    // Never connected, so nothing can have moved: it becomes a channel only to be fenced like any
    // other.
    baton_path* path = std::exchange(link.opening, nullptr);
    transport::Rail* rail = std::exchange(link.opening_rail, nullptr);
    transfer::PathChannel::Identity identity;
    identity.peer = link.peer;
    identity.cookie = link.cookie;
    link.channel = std::make_unique<transfer::PathChannel>(identity, rail, path, link.unit_bytes);
  }
  if (link.channel == nullptr) {
    path_fenced(link, now_ns);
    return;
  }
  // With nothing under way this is how every connection ends.
  if (link.grants.empty() && link.transfers.empty()) {
    logger_.info("{} is fenced: {}", link.channel->describe(), why.to_string());
  } else {
    logger_.warning("{} is fenced: {}", link.channel->describe(), why.to_string());
  }
  if (link.up) send_or_drop(link, wire::Fence{link.channel->identity().epoch});
  link.channel->fence();
}

// Whatever still runs over this Path fails with it; the quiet that the fence brings is what ends
// it.
void Engine::fail_requests(Link& link, const Status& why, int64_t now_ns) {
  for (const auto& grant : link.grants) grant->begin_cancel(why, now_ns);
  for (const auto& transfer : link.transfers) transfer->life.begin_cancel(why);
}

void Engine::path_fenced(Link& link, int64_t now_ns) {
  // Also what was opened since the fence began.
  fail_requests(link, link.fence_why, now_ns);
  for (const auto& grant : link.grants) grant->fenced = true;
  for (const auto& transfer : link.transfers) transfer->path_lost = true;
  link.channel.reset();
}

void Engine::look_after_path(Link& link, int64_t now_ns) {
  transfer::PathChannel* channel = link.channel.get();
  if (channel != nullptr && channel->state() == transfer::PathState::kFenced) {
    if (link.up) send_or_drop(link, wire::Fenced{channel->identity().epoch, {}});
    path_fenced(link, now_ns);
    channel = nullptr;
  }
  if (channel != nullptr && channel->state() == transfer::PathState::kFencing) return;
  const bool broken = channel != nullptr && channel->state() == transfer::PathState::kBroken;
  if (broken && link.up && !link.fence_wanted) {
    if (link.broken_seen_ns == 0) link.broken_seen_ns = now_ns;
    const int64_t until_ns = link.broken_seen_ns + kDeathNewsNs;
    if (now_ns < until_ns) {
      want_timer(until_ns);
      return;
    }
  }
  if (broken || link.fence_wanted) {
    Status why = link.down_why;
    if (link.up) {
      why = Status(StatusCode::kPathLost,
                   (channel != nullptr ? channel->describe()
                                       : "the path to peer " + std::to_string(link.peer.value)) +
                       " was lost: " +
                       (link.broken_why.empty() ? "fenced for a request that did not end"
                                                : link.broken_why));
    }
    fence_path(link, why, now_ns);
    return;
  }
  // A peer without a Path is of no use: when all that ran over it has ended on both sides, the
  // connection goes, too, and the next connect() starts afresh.
  const bool idle = link.grants.empty() && link.transfers.empty() && link.ended.empty();
  if (link.up && link.had_path && channel == nullptr && idle) {
    link.up = false;
    link.down_why = Status(StatusCode::kPathLost, "the path to the peer was lost");
    output_->drop_peer(link.peer, link.down_why);
  }
}

}  // namespace baton::handoff
