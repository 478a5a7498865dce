// The control thread: waits, reads, writes, keeps time.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/assert.h"
#include "src/base/clock.h"
#include "src/control/control_plane_impl.h"

namespace baton::control {

namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr uint64_t kEventKey = 0;
constexpr uint64_t kListenerKey = 1;
constexpr int kMaxEvents = 128;
constexpr int kAcceptsPerTurn = 64;
// Of one link, so that none starves the others.
constexpr int kReadsPerTurn = 8;
constexpr uint32_t kFramesPerTurn = 256;
constexpr int64_t kAcceptRestNs = 100 * kMillisecond;
// How far a link is read while its hello is held. A dialer may have its peer's whole description
// coming, which is longer; what is not read waits in the sockets until the hello is decided.
constexpr size_t kHeldBytes = size_t{64} << 10;

Status lost(const Link& link, const std::string& how) {
  return Status(StatusCode::kPeerLost, "connection to " + link.remote.text() + " " + how);
}

// Accepted, and no peer: one that has not proven itself, or, if `proven`, one that has, and whose
// hello is held or which is leaving. What is on its way from hello to peer counts as one.
bool is_no_peer(const Link& link, bool proven) {
  if (!link.is_open || link.is_dialer || link.was_proven != proven) return false;
  return !proven || link.stage == Stage::kHeld || link.stage == Stage::kClosing;
}

}  // namespace

void ControlPlaneImpl::run() {
  while (!stopping_.load()) {
    ++turn_;
    wait_for_events();
    run_commands();
    run_timers();
    flush_all();
    sweep();
  }
  queue_last_messages();
  say_goodbye_to_all();
}

// Messages that send() took before stop() leave ahead of the Goodbye: a GrantEnd among them decides
// whether a hand-off that is finished here is in doubt there. No other command has an effect that
// would outlive this thread, and some would call the handler.
void ControlPlaneImpl::queue_last_messages() {
  batch_.clear();
  {
    const std::lock_guard lock(mutex_);
    batch_.swap(mailbox_);
  }
  for (ControlCommand& command : batch_) {
    if (auto* send = std::get_if<SendCommand>(&command)) execute(*send);
  }
}

void ControlPlaneImpl::wait_for_events() {
  const int64_t wake_ns = std::min({next_timer_ns_, alarm_ns_.load(), accept_again_ns_});
  int timeout_ms = -1;
  if (wake_ns != INT64_MAX) {
    // Rounded up: a timer that is early would spin.
    const int64_t left_ms = (wake_ns - clock_.now_ns() + kMillisecond - 1) / kMillisecond;
    timeout_ms = static_cast<int>(std::clamp<int64_t>(left_ms, 0, 3'600'000));
  }
  sleeps_.store(true);
  {
    const std::lock_guard lock(mutex_);
    if (!mailbox_.empty()) timeout_ms = 0;
  }
  // An alarm set since it was read above has seen sleeps_, or is seen here.
  if (alarm_ns_.load() < wake_ns || stopping_.load() || frames_wait_) timeout_ms = 0;
  epoll_event events[kMaxEvents];
  const int count = epoll_wait(epoll_.get(), events, kMaxEvents, timeout_ms);
  sleeps_.store(false);
  BATON_ASSERT(count >= 0 || errno == EINTR, "epoll_wait works");
  take_frames_that_wait();
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 == kEventKey) {
      event_->clear();
    } else if (events[i].data.u64 == kListenerKey) {
      accept_all();
    } else if (Link* link = find_link(events[i].data.u64); link != nullptr) {
      on_event(*link, events[i].events);
    }
  }
}

void ControlPlaneImpl::run_commands() {
  batch_.clear();
  {
    const std::lock_guard lock(mutex_);
    batch_.swap(mailbox_);
  }
  for (ControlCommand& command : batch_) {
    std::visit([this](auto& one) { execute(one); }, command);
  }
}

void ControlPlaneImpl::execute(SendCommand& command) {
  Link* link = find_peer(command.peer);
  if (link == nullptr || link->stage != Stage::kUp) return;
  link->queue_counted(std::move(command.frame));
  output_waits_ = true;
}

void ControlPlaneImpl::execute(BroadcastCommand& command) {
  for (auto& [id, link] : links_) {
    if (!link->is_open || !link->described || link->is_ended) continue;
    if (link->stage == Stage::kDescribe && !link->is_dialer) {
      link->deferred.push_back(command.frame);
    } else if (link->outbox->queued_bytes.load(std::memory_order_relaxed) >
               options_.limits.send_queue_bytes) {
      fail(*link, Status(StatusCode::kBusy,
                         "\"" + link->info.name + "\" does not read its control messages"));
    } else {
      link->queue(command.frame);
      output_waits_ = true;
    }
  }
}

void ControlPlaneImpl::execute(DisconnectCommand& command) {
  Link* link = find_peer(command.peer);
  if (link != nullptr) close_politely(*link, command.why);
}

void ControlPlaneImpl::execute(ExpectCommand&) { expire_tickets(clock_.now_ns()); }

void ControlPlaneImpl::accept_all() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    base::UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      // No descriptors: without a rest, the listener would stay readable and this thread busy.
      logger_.warning("\"{}\" cannot accept connections: {}", options_.name, std::strerror(errno));
      drop_oldest(false);
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
      accept_again_ns_ = clock_.now_ns() + kAcceptRestNs;
      return;
    }
    set_no_delay(fd.get());
    if (count_no_peers(false) >= options_.limits.max_half_open) drop_oldest(false);
    if (count_no_peers(true) >= options_.limits.max_peers) drop_oldest(true);
    Link& link = add_link(Stage::kFirstByte, std::move(fd));
    link.remote = remote_address(link.fd.get());
    set_deadline(link, options_.limits.hello_timeout_ms);
  }
}

size_t ControlPlaneImpl::count_no_peers(bool proven) const {
  return static_cast<size_t>(std::count_if(links_.begin(), links_.end(), [&](const auto& entry) {
    return is_no_peer(*entry.second, proven);
  }));
}

void ControlPlaneImpl::drop_oldest(bool proven) {
  for (auto& [id, link] : links_) {
    if (!is_no_peer(*link, proven)) continue;
    logger_.debug("\"{}\" drops {}: too many connections that {}", options_.name,
                  link->remote.text(),
                  proven ? "wait or are leaving" : "have not proven themselves");
    drop(*link);
    return;
  }
}

Link& ControlPlaneImpl::add_link(Stage stage, base::UniqueFd fd) {
  const LinkId id = next_link_++;
  Link& link = *links_.emplace(id, std::make_unique<Link>(id, stage, std::move(fd))).first->second;
  if (link.fd) watch(link, true);
  return link;
}

void ControlPlaneImpl::watch(Link& link, bool add) {
  epoll_event event{};
  event.data.u64 = link.id;
  event.events = (link.read_paused ? 0u : static_cast<uint32_t>(EPOLLIN)) |
                 (link.write_wanted ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  const int rc =
      epoll_ctl(epoll_.get(), add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, link.fd.get(), &event);
  // Out of memory or of watches: the link then ends by its deadline.
  if (rc != 0) logger_.error("epoll_ctl for {}: {}", link.remote.text(), std::strerror(errno));
}

void ControlPlaneImpl::on_event(Link& link, uint32_t events) {
  if (link.stage == Stage::kConnecting) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) on_connected(link);
    return;
  }
  if ((events & EPOLLOUT) != 0) flush(link);
  if (link.is_open && link.read_paused && (events & (EPOLLERR | EPOLLHUP)) != 0) {
    // Unread, it would be reported in each turn.
    fail(link, lost(link, "broke while its hello waited"));
    return;
  }
  if (link.is_open && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) on_readable(link);
}

void ControlPlaneImpl::on_readable(Link& link) {
  if (std::exchange(link.frames_wait, false)) {
    const Status status = take_frames(link);
    if (!status.is_ok() && link.is_open) fail(link, status);
  }
  bool more = true;
  for (int i = 0; i < kReadsPerTurn && more && link.is_open && !link.frames_wait; ++i) {
    if (link.stage == Stage::kOpening || link.stage == Stage::kAnswer) {
      on_stream_readable(link);
      return;
    }
    if (link.stage == Stage::kHandOver) return;
    if (link.stage == Stage::kHeld && link.reader.buffered_bytes() >= kHeldBytes) {
      link.read_paused = true;
      watch(link, false);
      return;
    }
    Status status;
    if (link.stage == Stage::kFirstByte) {
      status = read_first_byte(link);
      more = link.stage != Stage::kFirstByte;
    } else if (link.stage == Stage::kPreface) {
      status = read_preface(link);
      more = link.stage != Stage::kPreface;
    } else {
      status = read_bytes(link, more);
    }
    if (!status.is_ok() && link.is_open) fail(link, status);
  }
}

void ControlPlaneImpl::resume_reading(Link& link) {
  if (std::exchange(link.read_paused, false)) watch(link, false);
}

Status ControlPlaneImpl::read_first_byte(Link& link) {
  uint8_t first = 0;
  const ssize_t got = recv(link.fd.get(), &first, 1, MSG_PEEK);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return Status::ok();
  if (got <= 0) return lost(link, "closed before it said anything");
  if (first == kStreamPreface[0]) {
    link.stage = Stage::kOpening;
  } else if (first == kControlPreface[0]) {
    link.stage = Stage::kPreface;
  } else if (first == kTlsFirstByte && tls_ != nullptr) {
    auto session = tls_->start(TlsRole::kAcceptor);
    if (!session.is_ok()) return session.status();
    link.tls = std::move(session).value();
    link.stage = Stage::kTls;
  } else if (first == kTlsFirstByte) {
    link.queue_raw(kNoSecretAlert);
    output_waits_ = true;
    return Status(StatusCode::kPermissionDenied,
                  "it used a secret, and \"" + options_.name + "\" has none");
  } else {
    return Status(StatusCode::kProtocolError, "it does not speak Baton's protocol");
  }
  return Status::ok();
}

Status ControlPlaneImpl::read_preface(Link& link) {
  const std::span<uint8_t> preface = std::span(link.opening).first(kControlPreface.size());
  BATON_RETURN_IF_ERROR(read_exactly(link, preface));
  if (link.received < preface.size()) return Status::ok();
  if (!std::equal(preface.begin(), preface.end(), kControlPreface.begin())) {
    return Status(StatusCode::kProtocolError, "it does not speak Baton's protocol");
  }
  link.stage = Stage::kHello;
  return Status::ok();
}

// `more`: the socket may have more bytes.
Status ControlPlaneImpl::read_bytes(Link& link, bool& more) {
  const ssize_t got = recv(link.fd.get(), read_buffer_.data(), read_buffer_.size(), 0);
  if (got < 0 && errno == EINTR) return Status::ok();
  more = got == static_cast<ssize_t>(read_buffer_.size());
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Status::ok();
  if (got < 0) return lost(link, std::string("broke: recv: ") + std::strerror(errno));
  if (got == 0) return lost(link, "was closed by the other end");
  link.beats.last_received_ns = clock_.now_ns();
  if (link.stage == Stage::kClosing) return Status::ok();
  return take_bytes(link, std::span(read_buffer_).first(static_cast<size_t>(got)));
}

Status ControlPlaneImpl::take_bytes(Link& link, std::span<const uint8_t> bytes) {
  if (!link.is_dialer && !link.was_proven) {
    link.unproven_bytes += bytes.size();
    if (link.unproven_bytes > wire::kMaxHelloBytes) {
      return Status(StatusCode::kProtocolError, "more than " +
                                                    std::to_string(wire::kMaxHelloBytes) +
                                                    " bytes before it has proven itself");
    }
  }
  if (link.tls == nullptr) {
    link.reader.feed(bytes);
    return take_frames(link);
  }
  plain_.clear();
  const bool was_established = link.tls->is_established();
  const Status fed = link.tls->feed(bytes, plain_);
  link.tls->take_output(link.out);
  output_waits_ = true;
  link.input_end = fed;
  if (!was_established && link.tls->is_established()) {
    link.authenticated = true;
    link.stage = Stage::kHello;
    if (link.is_dialer) send_hello(link);
  }
  link.reader.feed(plain_);
  return take_frames(link);
}

// Handles the frames that are here, as many as one link may bring in a turn; then says how the
// input ended, if it did.
Status ControlPlaneImpl::take_frames(Link& link) {
  if (std::exchange(link.turn, turn_) != turn_) link.frames_left = kFramesPerTurn;
  while (link.is_open && link.stage != Stage::kClosing) {
    if (link.stage == Stage::kHeld) return link.input_end;
    if (link.frames_left == 0) {
      link.frames_wait = true;
      frames_wait_ = true;
      return Status::ok();
    }
    --link.frames_left;
    auto frame = link.reader.next();
    if (!frame.is_ok()) return frame.status();
    if (!frame->has_value()) return link.input_end;
    BATON_RETURN_IF_ERROR(on_frame(link, **frame));
  }
  return Status::ok();
}

// Of links that brought more than one turn allowed. No event tells of these: their bytes have left
// the socket.
void ControlPlaneImpl::take_frames_that_wait() {
  if (!std::exchange(frames_wait_, false)) return;
  for (auto& [id, link] : links_) {
    if (link->is_open && link->frames_wait) on_readable(*link);
  }
}

void ControlPlaneImpl::flush(Link& link) {
  const Status flushed = link.flush(clock_.now_ns());
  if (!flushed.is_ok()) {
    fail(link, flushed);
    return;
  }
  const bool wants = link.has_output() && (link.tls == nullptr || link.tls->is_established() ||
                                           link.out_begin < link.out.size());
  if (wants != link.write_wanted) {
    link.write_wanted = wants;
    watch(link, false);
  }
  if (wants) return;
  if (link.stage == Stage::kHandOver) hand_over(link);
  if (link.is_open && link.stage == Stage::kClosing && !link.end_sent) {
    // The end of the stream, and then the other side's: a close with unread bytes would be a reset,
    // which can overtake what was just written.
    shutdown(link.fd.get(), SHUT_WR);
    link.end_sent = true;
  }
}

void ControlPlaneImpl::flush_all() {
  while (std::exchange(output_waits_, false)) {
    for (auto& [id, link] : links_) {
      const bool closes = link->stage == Stage::kClosing && !link->end_sent;
      if (!link->is_open || !link->fd || link->stage == Stage::kConnecting || link->write_wanted)
        continue;
      if (link->has_output() || closes) flush(*link);
    }
  }
}

void ControlPlaneImpl::set_deadline(Link& link, uint32_t timeout_ms) {
  link.deadline_ns = clock_.now_ns() + int64_t{timeout_ms} * kMillisecond;
  want_timer(link.deadline_ns);
}

void ControlPlaneImpl::run_timers() {
  const int64_t now_ns = clock_.now_ns();
  if (now_ns >= alarm_ns_.load()) {
    alarm_ns_.store(INT64_MAX);
    const int64_t next_ns = handler_->on_alarm(now_ns);
    int64_t set = alarm_ns_.load();
    while (next_ns < set && !alarm_ns_.compare_exchange_weak(set, next_ns)) {
    }
  }
  if (now_ns >= accept_again_ns_) {
    accept_again_ns_ = INT64_MAX;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kListenerKey;
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
  }
  if (now_ns < next_timer_ns_) return;
  next_timer_ns_ = INT64_MAX;
  expire_tickets(now_ns);
  for (auto& [id, link] : links_) {
    if (link->is_open) link_timer(*link, now_ns);
  }
}

void ControlPlaneImpl::link_timer(Link& link, int64_t now_ns) {
  if (link.stage == Stage::kUp) peer_timer(link, now_ns);
  if (!link.is_open || link.deadline_ns == INT64_MAX) return;
  if (now_ns < link.deadline_ns) {
    want_timer(link.deadline_ns);
    return;
  }
  link.deadline_ns = INT64_MAX;
  if (link.stage == Stage::kClosing) {
    drop(link);
  } else if (link.stage == Stage::kHeld) {
    held_too_long(link);
  } else if (link.stage == Stage::kObserver) {
    logger_.info("\"{}\" drops the observer at {}: it had {} ms", options_.name, link.remote.text(),
                 options_.limits.observer_timeout_ms);
    drop(link);
  } else {
    const uint32_t limit_ms =
        link.is_dialer ? options_.dial_timeout_ms : options_.limits.hello_timeout_ms;
    fail(link, Status(StatusCode::kDeadlineExceeded, link.remote.text() +
                                                         " did not finish the hello within " +
                                                         std::to_string(limit_ms) + " ms"));
  }
}

void ControlPlaneImpl::sweep() {
  std::erase_if(links_, [](const auto& entry) { return !entry.second->is_open; });
}

// Ends the stream once, then reads away what still comes: a close with unread bytes would be a
// reset, which can overtake what was just written. False: the other side has ended it, too.
bool ControlPlaneImpl::end_stream(Link& link) {
  if (!std::exchange(link.end_sent, true)) shutdown(link.fd.get(), SHUT_WR);
  uint8_t unread[4096];
  ssize_t got = 1;
  // A peer that goes on sending is read in portions: the caller watches the time.
  for (int i = 0; i < 16 && got > 0; ++i) {
    got = recv(link.fd.get(), unread, sizeof unread, MSG_DONTWAIT);
  }
  link.is_open = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
  return link.is_open;
}

void ControlPlaneImpl::say_goodbye_to_all() {
  for (auto& [id, link] : links_) {
    if (!link->is_open || link->stage != Stage::kUp) continue;
    // Nothing but an encoding error, which a constant does not have.
    queue(*link, wire::Goodbye{StatusCode::kOk, "it shut down"}).ignore();
    link->stage = Stage::kClosing;
  }
  // Wall time: this wait is for sockets, and must end under any clock.
  const int64_t end_ns =
      base::monotonic_now_ns() + int64_t{options_.limits.goodbye_timeout_ms} * kMillisecond;
  for (;;) {
    std::vector<pollfd> waiting;
    for (auto& [id, link] : links_) {
      if (!link->is_open || link->stage != Stage::kClosing) continue;
      if (!link->flush(clock_.now_ns()).is_ok()) {
        link->is_open = false;
      } else if (link->has_output()) {
        waiting.push_back({link->fd.get(), POLLOUT, 0});
      } else if (end_stream(*link)) {
        waiting.push_back({link->fd.get(), POLLIN, 0});
      }
    }
    const int64_t left_ms = (end_ns - base::monotonic_now_ns()) / kMillisecond;
    if (waiting.empty() || left_ms <= 0) return;
    poll(waiting.data(), waiting.size(), static_cast<int>(left_ms));
  }
}

Link* ControlPlaneImpl::find_link(LinkId id) {
  const auto found = links_.find(id);
  return found != links_.end() && found->second->is_open ? found->second.get() : nullptr;
}

Link* ControlPlaneImpl::find_peer(PeerId peer) {
  const auto found = by_peer_.find(peer);
  return found != by_peer_.end() ? find_link(found->second) : nullptr;
}

}  // namespace baton::control
