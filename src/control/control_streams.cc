// Data sockets: dialled to the same port, proven once by both ends, then handed over.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/assert.h"
#include "src/base/random.h"
#include "src/control/control_plane_impl.h"

namespace baton::control {

void ControlPlaneImpl::execute(OpenStreamCommand& command) {
  const Link* peer = find_peer(command.peer);
  if (peer == nullptr || peer->stage != Stage::kUp) return;
  SocketAddress address = peer->remote;
  if (!peer->is_dialer) {
    // It dialled us from an ephemeral port; where it listens, its hello said.
    const auto listens = parse_address(peer->info.address);
    if (!listens.is_ok()) {
      handler_->on_stream_failed(command.peer, command.epoch, listens.status());
      return;
    }
    address.set_port(listens->port);
    const auto numeric = numeric_address(listens->host, listens->port);
    if (numeric.is_ok()) address = numeric.value();
  }
  StreamOpening opening;
  opening.session = peer->session;
  opening.epoch = command.epoch;
  opening.ticket = command.ticket;
  base::secure_random_bytes(opening.nonce);

  const StreamKey key = peer->stream_key;
  Link& link = add_link(Stage::kConnecting, base::UniqueFd());
  link.is_dialer = true;
  link.is_stream_dial = true;
  link.peer = command.peer;
  link.epoch = command.epoch;
  link.stream_key = key;
  link.opening = write_opening(opening, key);
  link.candidates = {address};
  set_deadline(link, options_.dial_timeout_ms);
  dial_next(link);
}

// Fills `into` from link.received on. OK also when more bytes are due.
Status ControlPlaneImpl::read_exactly(Link& link, std::span<uint8_t> into) {
  while (link.received < into.size()) {
    const ssize_t got =
        recv(link.fd.get(), into.data() + link.received, into.size() - link.received, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Status::ok();
    if (got < 0) {
      return Status(StatusCode::kPeerLost, "connection to " + link.remote.text() +
                                               " broke: recv: " + std::strerror(errno));
    }
    if (got == 0)
      return Status(StatusCode::kPeerLost,
                    link.remote.text() + " closed the connection before its proof was complete");
    link.received += static_cast<size_t>(got);
  }
  return Status::ok();
}

void ControlPlaneImpl::on_stream_readable(Link& link) {
  const bool is_answer = link.stage == Stage::kAnswer;
  const std::span<uint8_t> into =
      is_answer ? std::span<uint8_t>(link.answer) : std::span<uint8_t>(link.opening);
  Status status = read_exactly(link, into);
  if (status.is_ok() && link.received < into.size()) return;
  if (status.is_ok() && !is_answer) status = on_opening(link);
  if (status.is_ok() && is_answer) {
    if (is_answer_to(link.answer, link.opening, link.stream_key)) {
      hand_over(link);
      return;
    }
    status = Status(StatusCode::kPermissionDenied, "whoever listens at " + link.remote.text() +
                                                       " did not prove that it is the peer");
  }
  if (!status.is_ok()) fail_stream(link, status);
}

Status ControlPlaneImpl::on_opening(Link& link) {
  const Status refused(StatusCode::kPermissionDenied, "a data socket that proves nothing");
  const auto opening = read_opening(link.opening);
  if (!opening) return refused;
  const Link* control = nullptr;
  for (auto& [id, other] : links_) {
    const bool is_peer = other->is_open && other->stage == Stage::kUp;
    if (is_peer && other->session == opening->session) control = other.get();
  }
  if (control == nullptr || !is_proven(link.opening, control->stream_key)) return refused;
  {
    const std::lock_guard lock(mutex_);
    const auto ticket = std::find_if(tickets_.begin(), tickets_.end(), [&](const Ticket& one) {
      return one.peer == control->peer && one.epoch == opening->epoch &&
             equal_secrets(one.secret, opening->ticket);
    });
    if (ticket == tickets_.end()) return refused;
    tickets_.erase(ticket);
  }
  link.peer = control->peer;
  link.epoch = opening->epoch;
  link.was_proven = true;
  link.stage = Stage::kHandOver;
  link.queue_raw(write_answer(link.opening, control->stream_key));
  output_waits_ = true;
  return Status::ok();
}

void ControlPlaneImpl::hand_over(Link& link) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, link.fd.get(), nullptr);
  base::UniqueFd stream = std::move(link.fd);
  drop(link);
  if (find_peer(link.peer) != nullptr)
    handler_->on_stream(link.peer, link.epoch, std::move(stream));
}

void ControlPlaneImpl::fail_stream(Link& link, const Status& why) {
  if (!link.is_open) return;
  logger_.debug("\"{}\": data socket {}: {}", options_.name, link.remote.text(), why.to_string());
  drop(link);
  // A stranger's opening names nobody here.
  if (!link.peer || find_peer(link.peer) == nullptr) return;
  Status told = why;
  if (link.stage == Stage::kAnswer && why.code() == StatusCode::kPeerLost) {
    // Strangers get no answer, so a refusal looks like a cut.
    told = Status(StatusCode::kPathLost,
                  why.message() + ": it was cut, or the peer refused its ticket or proof");
  }
  handler_->on_stream_failed(link.peer, link.epoch, told);
}

void ControlPlaneImpl::expire_tickets(int64_t now_ns) {
  std::vector<Ticket> expired;
  {
    const std::lock_guard lock(mutex_);
    for (const Ticket& ticket : tickets_) {
      if (now_ns >= ticket.deadline_ns) {
        expired.push_back(ticket);
      } else {
        want_timer(ticket.deadline_ns);
      }
    }
    std::erase_if(tickets_, [&](const Ticket& ticket) { return now_ns >= ticket.deadline_ns; });
  }
  for (const Ticket& ticket : expired) {
    handler_->on_stream_failed(ticket.peer, ticket.epoch,
                               Status(StatusCode::kDeadlineExceeded,
                                      "the peer did not dial the data socket within " +
                                          std::to_string(options_.dial_timeout_ms) + " ms"));
  }
}

// Also ends the data sockets that were being made: without callbacks, since the peer is down.
void ControlPlaneImpl::forget_tickets(PeerId peer) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(tickets_, [&](const Ticket& ticket) { return ticket.peer == peer; });
  }
  for (auto& [id, link] : links_) {
    if (link->is_open && link->is_stream() && link->peer == peer) drop(*link);
  }
}

}  // namespace baton::control
