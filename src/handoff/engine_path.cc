// Paths are opened here, on command: on rails that want a stream with the socket that the control
// thread brings, on others by an exchange of addresses. How they end: engine_fence.cc.
#include <algorithm>

#include "src/base/assert.h"
#include "src/handoff/engine.h"
#include "src/handoff/pull_state.h"

namespace baton::handoff {

namespace {

transport::Rail* rail_at(const std::vector<transport::Rail*>& rails, RailIndex index) {
  return index.value < rails.size() ? rails[index.value] : nullptr;
}

}  // namespace

// One for each Path in its life.
uint64_t Engine::take_cookie(LinkPath& path) {
  if (free_cookies_.empty()) {
    free_cookies_.push_back(static_cast<uint32_t>(cookies_.size()));
    cookies_.emplace_back();
  }
  const uint32_t index = free_cookies_.back();
  free_cookies_.pop_back();
  cookies_[index].path = &path;
  path.cookie = uint64_t{cookies_[index].generation} << 32 | index;
  return path.cookie;
}

void Engine::return_cookie(LinkPath& path) {
  if (path.cookie == 0) return;
  const auto index = static_cast<uint32_t>(path.cookie);
  cookies_[index].path = nullptr;
  ++cookies_[index].generation;
  free_cookies_.push_back(index);
  path.cookie = 0;
}

Engine::LinkPath* Engine::path_of(uint64_t cookie) {
  const auto index = static_cast<uint32_t>(cookie);
  if (index >= cookies_.size()) return nullptr;
  LinkPath* path = cookies_[index].path;
  return path != nullptr && path->cookie == cookie ? path : nullptr;
}

Engine::LinkPath* Engine::path_with(Link& link, PathEpoch epoch) {
  for (LinkPath& path : link.paths) {
    if (path.plan.epoch == epoch) return &path;
  }
  return nullptr;
}

bool Engine::may_open(const Link& link) {
  if (!link.ended.empty()) return false;
  const auto is_ending = [](const auto& one) { return one->life.state() == State::kCancelling; };
  return std::none_of(link.grants.begin(), link.grants.end(), is_ending) &&
         std::none_of(link.transfers.begin(), link.transfers.end(), [&](const auto& transfer) {
           return transfer->kind == TransferKind::kReadGrant && is_ending(transfer);
         });
}

Engine::LinkPath* Engine::plan_path(PeerId peer, const PathPlan& plan, bool asked) {
  Link* link = find_link(peer);
  if (link == nullptr || !link->up || plan.ordinal >= link->paths.size()) return nullptr;
  if (rail_at(rails_, plan.rail) == nullptr) return nullptr;
  LinkPath* path = &link->paths[plan.ordinal];
  if (path->is_there() || path->fenced_here) {
    const Status taken(StatusCode::kBusy,
                       "path " + std::to_string(plan.ordinal) + " has not come to its end");
    if (asked) {
      wire::PathReply refusal;
      refusal.epoch = plan.epoch;
      refusal.code = taken.code();
      refusal.error = taken.message();
      send_or_drop(*link, refusal);
    }
    output_->path_ready(peer, plan.ordinal, taken);
    return nullptr;
  }
  path->plan = plan;
  path->broken_why.clear();
  path->broken_seen_ns = 0;
  path->fence_wanted = false;
  path->fenced_there = false;
  path->snapshot.clear();
  path->immediates = 0;
  path->returned = 0;
  path->fence_cause.reset();
  return path;
}

void Engine::expect_path(ExpectPath& command) {
  LinkPath* path = plan_path(command.peer, command.plan, command.reply != nullptr);
  if (path == nullptr) return;
  path->expected = true;
  if (command.reply != nullptr) send_or_drop(*path->link, *command.reply);
}

// A stream of which nobody expects anything any more is closed: its Path was fenced meanwhile.
void Engine::stream_arrived(OpenStreamPath& command) {
  Link* link = find_link(command.peer);
  LinkPath* path = link == nullptr ? nullptr : path_with(*link, command.plan.epoch);
  if (path == nullptr || !path->expected || path->fence_wanted) return;
  path->expected = false;
  open_path(*path, std::move(command));
}

// A Path that could carry something to a Grant whose quiet is being proved would be one more to
// prove it of.
void Engine::open_path(LinkPath& path, Command&& command) {
  if (!may_open(*path.link)) {
    path.held = std::make_unique<Command>(std::move(command));
    return;
  }
  if (auto* stream = std::get_if<OpenStreamPath>(&command)) open_stream_path(path, *stream);
  if (auto* addressed = std::get_if<OpenAddressedPath>(&command))
    open_addressed_path(path, *addressed);
  if (auto* connect = std::get_if<ConnectPath>(&command)) connect_path(path, *connect);
}

void Engine::open_held_paths(Link& link) {
  if (!link.up) return;
  for (LinkPath& path : link.paths) {
    if (path.held == nullptr || path.fence_wanted || !may_open(link)) continue;
    const std::unique_ptr<Command> command = std::move(path.held);
    open_path(path, std::move(*command));
  }
}

void Engine::path_failed(LinkPath& path, const Status& why) {
  logger_.warning("peer {}: path {} was not opened: {}", path.link->peer.value, path.ordinal,
                  why.message());
  output_->path_ready(path.link->peer, path.ordinal, why);
}

// Both sides had agreed on it, so the peer may have an end, with units on it: it is fenced as one
// that broke, and asked for again when it is gone.
void Engine::path_unopened(LinkPath& path, const Status& why) {
  path.expected = false;
  path.held.reset();
  path.unopened = true;
  path.broken_why = why.message();
  ++ready_layers_;
  logger_.warning("peer {}: path {} was not opened: {}", path.link->peer.value, path.ordinal,
                  why.message());
  output_->path_unopened(path.link->peer, path.ordinal, why);
}

void Engine::adopt_path(LinkPath& path, transport::Rail* rail, baton_path* opened) {
  transfer::PathChannel::Identity identity;
  identity.peer = path.link->peer;
  identity.epoch = path.plan.epoch;
  identity.cookie = path.cookie;
  identity.ordinal = path.ordinal;
  identity.credits = path.plan.credits;
  identity.meters = &meters_of(path);
  identity.meters->place(rail->plugin().name, rail->index().value, path.plan.epoch.value);
  path.channel =
      std::make_unique<transfer::PathChannel>(identity, rail, opened, path.link->unit_bytes);
  path.link->had_path = true;
  // Another one under this ordinal may not reach what the last one did.
  for (const auto& transfer : path.link->transfers) {
    if (transfer->stripe.path == path.ordinal) transfer->stripe = {};
  }
  for (PullState* pull : path.link->pulls) {
    if (pull->stripe.path == path.ordinal) pull->stripe = {};
  }
}

void Engine::path_opened(LinkPath& path) {
  note_opened(path);
  logger_.info("{} is open", path.channel->describe());
  output_->path_ready(path.link->peer, path.ordinal, Status::ok());
}

// The rail opened the path and could not connect it: it is fenced as any other, with the peer's
// end.
void Engine::path_unconnected(LinkPath& path, const Status& why) {
  path.channel->set_state(transfer::PathState::kBroken);
  path_unopened(path, why);
}

Status Engine::open_in_plugin(LinkPath& path, int stream_fd, baton_path** out) {
  transport::Rail* rail = rail_at(rails_, path.plan.rail);
  baton_path_options options{};
  options.struct_size = sizeof(options);
  options.cookie = take_cookie(path);
  options.epoch = path.plan.epoch.value;
  options.stream_fd = stream_fd;
  options.max_message_bytes = path.link->unit_bytes;
  char error[BATON_ERROR_BYTES] = {};
  const baton_rc rc = rail->plugin().path_open(rail->handle(), &options, out, error);
  if (rc == BATON_RC_OK) return Status::ok();
  return_cookie(path);
  return transport::status_of(rc, "opening a path on rail " + rail->name(), error);
}

void Engine::open_stream_path(LinkPath& path, OpenStreamPath& command) {
  baton_path* opened = nullptr;
  const Status status = open_in_plugin(path, command.stream.get(), &opened);
  if (!status.is_ok()) {
    path_unopened(path, status);
    return;
  }
  (void)command.stream.release();  // the plug-in's from here on
  adopt_path(path, rail_at(rails_, path.plan.rail), opened);
  path_opened(path);
}

void Engine::open_addressed_path(LinkPath& path, OpenAddressedPath& command) {
  Link& link = *path.link;
  transport::Rail* rail = rail_at(rails_, path.plan.rail);
  baton_path* opened = nullptr;
  const Status status = open_in_plugin(path, -1, &opened);
  if (!status.is_ok()) {
    if (command.asked) {
      wire::PathReply refusal;
      refusal.epoch = path.plan.epoch;
      refusal.code = status.code();
      refusal.error = status.message();
      send_or_drop(link, refusal);
    }
    path_failed(path, status);
    return;
  }
  std::vector<uint8_t> address(BATON_MAX_ADDRESS_BYTES);
  uint32_t length = 0;
  baton_rc rc = rail->plugin().path_address(opened, address.data(), &length);
  BATON_ASSERT(rc == BATON_RC_OK && length <= BATON_MAX_ADDRESS_BYTES,
               "an open path has an address");
  address.resize(length);
  if (!command.asked) {
    path.opening = opened;
    path.opening_rail = rail;
    send_or_drop(link, wire::PathRequest{path.plan.epoch, path.plan.rail, path.plan.peer_rail,
                                         std::move(address), path.ordinal});
    return;
  }
  char error[BATON_ERROR_BYTES] = {};
  rc = rail->plugin().path_connect(opened, command.peer_address.data(),
                                   static_cast<uint32_t>(command.peer_address.size()), error);
  adopt_path(path, rail, opened);
  wire::PathReply reply;
  reply.epoch = path.plan.epoch;
  reply.code = rc == BATON_RC_OK ? StatusCode::kOk : StatusCode::kPathLost;
  reply.error = error;
  reply.address = std::move(address);
  send_or_drop(link, reply);
  if (rc == BATON_RC_OK) {
    path_opened(path);
  } else {
    path_unconnected(path,
                     transport::status_of(rc, "connecting a path on rail " + rail->name(), error));
  }
}

void Engine::connect_path(LinkPath& path, ConnectPath& command) {
  baton_path* opened = std::exchange(path.opening, nullptr);
  transport::Rail* rail = std::exchange(path.opening_rail, nullptr);
  char error[BATON_ERROR_BYTES] = {};
  const baton_rc rc =
      rail->plugin().path_connect(opened, command.peer_address.data(),
                                  static_cast<uint32_t>(command.peer_address.size()), error);
  adopt_path(path, rail, opened);
  if (rc == BATON_RC_OK) {
    path_opened(path);
  } else {
    path_unconnected(path,
                     transport::status_of(rc, "connecting a path on rail " + rail->name(), error));
  }
}

// Refused: the peer has no end of it. What was opened here is fenced, and nothing is waited for.
void Engine::abandon_path(LinkPath& path, const Status& failed_stream) {
  if (!failed_stream.is_ok()) {
    if (path.expected && !path.fence_wanted) path_unopened(path, failed_stream);
    return;
  }
  path.expected = false;
  if (path.opening == nullptr || path.channel != nullptr) return;
  path.fenced_there = true;
  want_fence(path, FenceCause::kPeerAsked);
  if (path.broken_why.empty()) path.broken_why = "the peer did not open its end";
}

}  // namespace baton::handoff
