// What the members of a run are told, and the connections that follow from it.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/simulation/virtual_run.h"

namespace baton_test {

using baton::Event;
using baton::EventKind;
using baton::StatusCode;

namespace {

constexpr int64_t kMsNs = 1'000'000;

// Asked at every step: a description would copy whole layouts.
bool knows(const baton::Context& context, baton::PeerId peer) {
  const std::vector<baton::PeerId> peers = context.peers();
  return std::find(peers.begin(), peers.end(), peer) != peers.end();
}

std::string name_of(uint32_t seat) { return "member-" + std::to_string(seat); }

const char* event_name(EventKind kind) {
  switch (kind) {
    case EventKind::kPeerUp:
      return "event: peer up";
    case EventKind::kPeerDown:
      return "event: peer down";
    case EventKind::kGrantOffered:
      return "event: grant offered";
    case EventKind::kGrantEnded:
      return "event: grant ended";
    case EventKind::kTransferEnded:
      return "event: transfer ended";
    case EventKind::kMessage:
      return "event: message";
    case EventKind::kEventsLost:
      return "event: events lost";
    case EventKind::kGrantGroupEnded:
      return "event: group ended";
  }
  return "event";
}

}  // namespace

void VirtualRun::take_events(Life& life) {
  Event events[16];
  bool was_any = false;
  for (;;) {
    const size_t count = life.context->poll_events(events);
    if (count == 0) break;
    was_any = true;
    for (size_t i = 0; i < count; ++i) on_event(life, events[i]);
  }
  if (was_any) step_requests();
}

Request* VirtualRun::offered_request(const Life& life, const Event& event) {
  for (Running& running : requests_) {
    Request* request = running.request.get();
    if (request != nullptr && request->is_started() && request->grant_id() == event.grant &&
        running.mover == &life)
      return request;
  }
  return nullptr;
}

Request* VirtualRun::transferred_request(Life& life, const Event& event) {
  for (Running& running : requests_) {
    Request* request = running.request.get();
    if (request != nullptr && running.mover == &life && request->transfer_id() == event.transfer)
      life.transfers[event.transfer] = request;
  }
  const auto found = life.transfers.find(event.transfer);
  return found == life.transfers.end() ? nullptr : found->second;
}

void VirtualRun::on_event(Life& life, const Event& event) {
  world_.note(life.seat, event_name(event.kind), event.grant.value, event.transfer.value,
              static_cast<uint64_t>(event.status.code()));
  if (world_.is_tracing() && (!event.tag.empty() || !event.status.is_ok()))
    world_.tell(life.seat, "  " + event.tag + " " + event.status.to_string());
  switch (event.kind) {
    case EventKind::kPeerUp:
    case EventKind::kPeerDown:
      on_peer_event(life, event);
      return;
    case EventKind::kGrantOffered: {
      Request* request = offered_request(life, event);
      ASSERT_NE(request, nullptr) << "an offer that nobody made: " << event.tag;
      request->on_offered();
      return;
    }
    case EventKind::kGrantEnded: {
      ASSERT_EQ(life.grants.count(event.grant), 1u) << "the end of an unknown Grant";
      SCOPED_TRACE(life.grants[event.grant]->describe());
      life.grants[event.grant]->on_grant_ended(event);
      return;
    }
    case EventKind::kTransferEnded: {
      Request* request = transferred_request(life, event);
      ASSERT_NE(request, nullptr) << "the end of an unknown Transfer";
      SCOPED_TRACE(request->describe());
      request->on_transfer_ended(event);
      return;
    }
    case EventKind::kMessage: {
      const baton::GrantId grant(event.tag_number);
      ASSERT_EQ(life.grants.count(grant), 1u) << "a stray message";
      SCOPED_TRACE(life.grants[grant]->describe());
      life.grants[grant]->on_message(event);
      return;
    }
    case EventKind::kGrantGroupEnded: {
      ASSERT_EQ(life.groups.count(event.group), 1u) << "the end of an unknown group";
      SCOPED_TRACE(life.groups[event.group]->describe());
      life.groups[event.group]->on_ended(event);
      return;
    }
    case EventKind::kEventsLost:
      FAIL() << event.tag_number << " events were lost, though they are polled all the time";
  }
}

void VirtualRun::on_peer_event(Life& life, const Event& event) {
  if (event.kind == EventKind::kPeerUp) {
    const auto peer = life.context->describe_peer(event.peer);
    if (!peer.is_ok()) return;  // gone again
    for (uint32_t other = 0; other < seats_.size(); ++other) {
      if (peer->name != name_of(other)) continue;
      life.peers[other] = event.peer;
      life.indices[event.peer] = other;
    }
    look_at_links();
    return;
  }
  EXPECT_EQ(event.status.message().find("protocol error"), std::string::npos)
      << event.status.to_string();
  // Who dialled and could open no Path says why.
  const bool is_unopened =
      event.status.code() == StatusCode::kExhausted &&
      event.status.message().find("the peer opens no path") != std::string::npos;
  EXPECT_TRUE(is_unopened || event.status.code() == StatusCode::kPeerLost ||
              event.status.code() == StatusCode::kPathLost)
      << event.status.to_string();
  const auto found = life.indices.find(event.peer);
  if (found == life.indices.end()) return;
  const uint32_t other = found->second;
  life.indices.erase(found);
  if (life.peers.count(other) != 0 && life.peers[other] == event.peer) life.peers.erase(other);
  for (const Link& link : links_) {
    const bool is_it = (link.script.dialer == life.seat && link.script.listener == other) ||
                       (link.script.listener == life.seat && link.script.dialer == other);
    if (!is_it || link.hurt.empty()) continue;
    EXPECT_TRUE(link.is_hurt() || is_ending_) << name_of(life.seat) << " lost " << name_of(other)
                                              << " without a cause: " << event.status.to_string();
  }
  look_at_links();
}

// ---- links

// Both have been told so, and neither has lost the other since without having been told that.
bool VirtualRun::is_up(const Link& link) const {
  const Life* a = seats_[link.script.dialer].life;
  const Life* b = seats_[link.script.listener].life;
  if (a == nullptr || b == nullptr || a->is_closed || b->is_closed) return false;
  const auto to_b = a->peers.find(link.script.listener);
  const auto to_a = b->peers.find(link.script.dialer);
  return to_b != a->peers.end() && to_a != b->peers.end() && knows(*a->context, to_b->second) &&
         knows(*b->context, to_a->second);
}

bool VirtualRun::is_down(const Link& link) const {
  const Life* a = seats_[link.script.dialer].life;
  return a == nullptr || a->peers.count(link.script.listener) == 0;
}

void VirtualRun::look_at_links() {
  for (uint32_t i = 0; i < links_.size(); ++i) {
    Link& link = links_[i];
    const bool is_now = is_up(link);
    if (is_now && !link.was_up) {
      ++link.connections;
      link.awake_ns = world_.now_ns();
      for (const uint32_t seat : {link.script.dialer, link.script.listener})
        link.awake_ns = std::max(link.awake_ns, seats_[seat].frozen_until_ns);
      link.hurt.push_back(std::exchange(link.hurt_early, Hurt::kNone));
    }
    link.was_up = is_now;
    if (is_ending_ || is_now || !is_down(link) || link.is_dialling) continue;
    if (link.connections > 0 && !scenario_.reconnects) continue;
    link.is_dialling = true;
    const auto delay_ns = static_cast<int64_t>(
        world_.random().below(static_cast<uint64_t>(link.connections > 0 ? 50 * kMsNs : kMsNs)));
    world_.at(world_.now_ns() + delay_ns, [this, i] { dial(i); });
  }
}

void VirtualRun::dial(uint32_t index) {
  const LinkScript& script = links_[index].script;
  // Sometimes both at once.
  const bool crosses = world_.random().chance(1, 5);
  for (const bool is_other : {false, true}) {
    const uint32_t from = is_other ? script.listener : script.dialer;
    const uint32_t to = is_other ? script.dialer : script.listener;
    if (is_ending_ || (is_other && !crosses) || !is_usable(from)) continue;
    if (seats_[from].frozen_until_ns > world_.now_ns()) continue;
    // Who dials anew before there is an answer takes the connection from himself.
    if (seats_[from].life->control->is_dialling(name_of(to))) continue;
    seats_[from].life->impl->begin_connect("baton://sim/" + name_of(to)).status();
    wake(from);
  }
  world_.at(world_.now_ns() + 200 * kMsNs, [this, index] {
    links_[index].is_dialling = false;
    look_at_links();
  });
}

void VirtualRun::disturb(uint32_t link, Hurt how) {
  Link& one = links_[link];
  if (!one.hurt.empty()) one.hurt.back() = std::max(one.hurt.back(), how);
  if (!one.was_up) one.hurt_early = std::max(one.hurt_early, how);
  for (Running& running : requests_) {
    if (running.request != nullptr && running.link == link &&
        running.connection + 1 == one.connections)
      running.request->disturb();
  }
}

void VirtualRun::disturb_links_of(uint32_t seat) {
  for (uint32_t i = 0; i < links_.size(); ++i) {
    if (links_[i].script.dialer == seat || links_[i].script.listener == seat) disturb(i);
  }
}

bool VirtualRun::hurt_path(uint32_t path) {
  std::vector<baton_loopback_path_info> paths(1024);
  paths.resize(
      std::min<size_t>(paths.size(), baton_loopback_fabric_paths(fabric_, paths.data(), 1024)));
  hurt_paths_.insert(path);
  const auto seats_of = [this](const baton_loopback_path_info& info) {
    return std::minmax(life_of_rail(info.rail_tag)->seat, life_of_rail(info.peer_rail_tag)->seat);
  };
  const auto found = std::find_if(paths.begin(), paths.end(), [&](const auto& info) {
    return info.path == path && info.peer_path != UINT32_MAX;
  });
  if (found == paths.end()) return false;
  hurt_paths_.insert(found->peer_path);
  const auto ends = seats_of(*found);
  const bool has_other = std::any_of(paths.begin(), paths.end(), [&](const auto& info) {
    return info.peer_path != UINT32_MAX && seats_of(info) == ends &&
           hurt_paths_.count(info.path) == 0;
  });
  if (has_other) return true;
  for (uint32_t link = 0; link < links_.size(); ++link) {
    if (std::minmax(links_[link].script.dialer, links_[link].script.listener) == ends)
      disturb(link, Hurt::kLastPath);
  }
  return true;
}

}  // namespace baton_test
