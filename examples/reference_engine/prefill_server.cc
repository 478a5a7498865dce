#include "examples/reference_engine/prefill_server.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "examples/reference_engine/engine_interrupt.h"

namespace baton_engine {

using baton::Event;
using baton::EventKind;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr int kWaitSliceMs = 100;

}  // namespace

Status PrefillServer::serve() {
  while (!interrupted()) {
    handle_events();
    if (team_ != nullptr) BATON_RETURN_IF_ERROR(handle_ranks());
    if (may_start()) BATON_RETURN_IF_ERROR(start_next());
    for (PrefillRank::Finished& one : own_.take_finished()) {
      take_record(one.key, 0, std::move(one.record));
    }
    send_outbox();
    if (options_.once && peer_gone_ && asked_.empty() && queue_.empty() && outbox_.empty()) {
      if (!peer_gone_early_) return Status::ok();
      return {StatusCode::kPeerLost, "the decode process is gone with a request under way"};
    }
  }
  return Status::ok();
}

void PrefillServer::handle_events() {
  if (take_events() || may_start()) return;
  wait_for_something();
  take_events();
}

bool PrefillServer::take_events() {
  std::array<Event, 16> events;
  const size_t count = node_.context().poll_events(events);
  for (size_t i = 0; i < count; ++i) handle(events[i]);
  return count > 0;
}

void PrefillServer::wait_for_something() {
  std::vector<pollfd> entries = {{node_.context().event_fd(), POLLIN, 0}};
  if (team_ != nullptr) {
    for (const int fd : team_->fds()) entries.push_back({fd, POLLIN, 0});
  }
  ::poll(entries.data(), entries.size(), kWaitSliceMs);
}

Status PrefillServer::handle_ranks() {
  for (uint32_t rank = 1; rank < team_->end(); ++rank) {
    while (true) {
      auto message = team_->poll(rank);
      if (!message.is_ok()) return message.status();
      if (!*message) break;
      auto record = decode_record((*message)->bytes);
      if (!record.is_ok()) return record.status();
      take_record((*message)->key, rank, std::move(*record));
    }
  }
  return Status::ok();
}

void PrefillServer::handle(const Event& event) {
  if (own_.on_event(event)) lacks_pages_ = false;
  switch (event.kind) {
    case EventKind::kPeerUp:
      progress_.say("a decode process is connected");
      break;
    case EventKind::kMessage:
      on_message(event);
      break;
    case EventKind::kPeerDown:
      on_peer_down(event);
      break;
    case EventKind::kTransferEnded:
    case EventKind::kGrantOffered:
    case EventKind::kGrantEnded:
    case EventKind::kGrantGroupEnded:
    case EventKind::kEventsLost:
      break;
  }
}

void PrefillServer::on_message(const Event& event) {
  if (event.tag_number == kHelloTag) {
    HelloReply reply;
    const std::string theirs(event.message.begin(), event.message.end());
    if (theirs != node_.fingerprint()) {
      reply.status = {StatusCode::kMismatch, "the decode process runs " + theirs +
                                                 "; the prefill process runs " +
                                                 node_.fingerprint()};
      progress_.say(reply.status.to_string());
    }
    reply.clock_id = this_clock_id();
    reply.pid = static_cast<uint32_t>(::getpid());
    reply.threads = node_.threads();
    reply.rank_addresses.push_back(node_.context().address());
    for (uint32_t rank = 1; team_ != nullptr && rank < team_->end(); ++rank) {
      reply.rank_addresses.push_back(team_->address(rank));
    }
    node_.context().send_message(event.peer, kHelloReplyTag, encode(reply)).ignore();
    return;
  }
  if (event.tag_number == kWithdrawTag) on_withdrawal(event);
  if (event.tag_number != kRequestTag) return;
  auto request = decode_request(event.message);
  if (request.is_ok()) {
    queue_.push_back({next_key_++, event.peer, std::move(*request)});
    return;
  }
  progress_.say("a request that cannot be read: " + request.status().to_string());
  PrefillRecord record;
  record.status = request.status();
  answer(event.peer, record);
}

void PrefillServer::on_withdrawal(const Event& event) {
  const auto id = decode_withdrawal(event.message);
  if (!id.is_ok()) return;
  const auto is_it = [&](const PrefillJob& job) {
    return job.peer == event.peer && job.request.id == *id;
  };
  // What the ranks were told of fails there; the rest is forgotten.
  for (auto& [key, asked] : asked_) {
    if (is_it(asked.job)) withdraw(key, asked);
  }
  const auto first = queue_.begin() + (front_was_told_ ? 1 : 0);
  queue_.erase(std::remove_if(first, queue_.end(), is_it), queue_.end());
}

void PrefillServer::withdraw(uint64_t key, Asked& asked) {
  asked.is_withdrawn = true;
  own_.withdraw(key);
  if (team_ != nullptr) team_->send_all(RankMessage::kWithdraw, key).ignore();
}

bool PrefillServer::is_withdrawn(const PrefillJob& job) {
  take_events();
  const auto asked = asked_.find(job.key);
  return asked != asked_.end() && asked->second.is_withdrawn;
}

bool PrefillServer::is_busy_for(baton::PeerId peer) const {
  return std::any_of(asked_.begin(), asked_.end(),
                     [peer](const auto& one) { return one.second.job.peer == peer; });
}

void PrefillServer::on_peer_down(const Event& event) {
  // What the ranks were told of is theirs already; it fails there.
  const auto first = queue_.begin() + (front_was_told_ ? 1 : 0);
  const auto gone = std::remove_if(
      first, queue_.end(), [&event](const PrefillJob& job) { return job.peer == event.peer; });
  const bool was_waiting = gone != queue_.end();
  queue_.erase(gone, queue_.end());
  std::erase_if(outbox_, [&event](const Outgoing& one) { return one.peer == event.peer; });
  for (auto& [key, asked] : asked_) {
    if (asked.job.peer == event.peer) withdraw(key, asked);
  }
  peer_gone_ = true;
  peer_gone_early_ |= was_waiting || is_busy_for(event.peer);
  progress_.say("the decode process is gone");
}

Status PrefillServer::start_next() {
  const PrefillJob job = queue_.front();  // the queue may change meanwhile
  if (!front_was_told_) {
    Asked& asked = asked_[job.key];
    asked.job = job;
    asked.records.resize(team_ != nullptr ? team_->end() : 1);
    if (team_ != nullptr) {
      BATON_RETURN_IF_ERROR(team_->send_all(RankMessage::kPrefill, job.key, encode(job.request)));
    }
    front_was_told_ = true;
  }
  const auto started = own_.start(job);
  if (!started.is_ok()) {
    // A rank's process that has ended says more than that the ranks do not meet any more.
    const Status gone = team_ != nullptr ? team_->check() : Status::ok();
    return gone.is_ok() ? started.status() : gone;
  }
  lacks_pages_ = !*started;
  if (lacks_pages_) return Status::ok();
  queue_.pop_front();
  front_was_told_ = false;
  return Status::ok();
}

void PrefillServer::take_record(uint64_t key, uint32_t rank, PrefillRecord record) {
  const auto found = asked_.find(key);
  if (found == asked_.end()) return;
  Asked& asked = found->second;
  asked.records[rank] = std::move(record);
  std::vector<PrefillRecord> all;
  for (std::optional<PrefillRecord>& one : asked.records) {
    if (!one) return;
    all.push_back(*one);
  }
  answer(asked.job.peer, merge(all));
  asked_.erase(found);
}

void PrefillServer::answer(baton::PeerId peer, const PrefillRecord& record) {
  const std::vector<uint8_t> text = encode(record);
  std::span<const uint8_t> rest = text;
  while (rest.size() > kMaxMessageBytes) {
    const auto part = rest.first(kMaxMessageBytes);
    outbox_.push_back({peer, kRecordPartTag, {part.begin(), part.end()}});
    rest = rest.subspan(kMaxMessageBytes);
  }
  outbox_.push_back({peer, kRecordTag, {rest.begin(), rest.end()}});
  send_outbox();
}

void PrefillServer::send_outbox() {
  // A peer that does not read keeps none of the others waiting, and keeps its own in order.
  std::vector<baton::PeerId> full;
  std::deque<Outgoing> waiting;
  for (Outgoing& one : outbox_) {
    Status sent = std::find(full.begin(), full.end(), one.peer) != full.end()
                      ? Status(StatusCode::kBusy, "")
                      : node_.context().send_message(one.peer, one.tag, one.bytes);
    if (sent.code() == StatusCode::kBusy) {
      full.push_back(one.peer);
      waiting.push_back(std::move(one));
    } else if (!sent.is_ok()) {
      progress_.say("a record was not sent: " + sent.to_string());
    }
  }
  outbox_ = std::move(waiting);
}

}  // namespace baton_engine
