#include "src/control/control_plane.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/assert.h"
#include "src/base/random.h"
#include "src/control/control_plane_impl.h"

namespace baton::control {

namespace {

constexpr size_t kMaxTicketsPerPeer = 64;
constexpr size_t kReadBytes = size_t{64} << 10;

}  // namespace

ControlPlaneImpl::ControlPlaneImpl(ControlOptions options, ControlHandler* handler,
                                   base::Logger& logger, base::Clock& clock)
    : options_(std::move(options)),
      handler_(handler),
      logger_(logger),
      clock_(clock),
      read_buffer_(kReadBytes) {}

ControlPlaneImpl::~ControlPlaneImpl() { stop(); }

Status ControlPlaneImpl::open() {
  if (options_.boot_id == BootId{}) base::secure_random_bytes(options_.boot_id);
  auto bind_address = numeric_address(options_.bind_host, options_.port);
  if (!bind_address.is_ok()) return bind_address.status();
  if (!bind_address->is_loopback() && options_.secret.is_empty()) {
    logger_.warning(
        "\"{}\" listens on {} without a secret (allow_unauthenticated): anyone who reaches that "
        "port can be a peer",
        options_.name, options_.bind_host);
  }
  if (!options_.secret.is_empty()) {
    auto tls = TlsContext::create(options_.secret);
    if (!tls.is_ok()) return tls.status();
    tls_ = std::move(tls).value();
  }
  auto listener = listen_on(bind_address.value());
  if (!listener.is_ok()) return listener.status();
  listener_ = std::move(listener).value();
  const SocketAddress bound = local_address(listener_.get());
  address_ = format_address(
      {options_.advertise_host.empty() ? bound.host_text() : options_.advertise_host, bound.port(),
       options_.name, tls_ != nullptr ? AuthMode::kPsk : AuthMode::kNone});

  auto wake_up = base::EventFd::create();
  if (!wake_up.is_ok()) return wake_up.status();
  event_.emplace(std::move(wake_up).value());
  epoll_ = base::UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  bool added = epoll_.is_valid();
  event.data.u64 = 0;
  added = added && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event_->fd(), &event) == 0;
  event.data.u64 = 1;
  added = added && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event) == 0;
  if (!added) return Status(StatusCode::kExhausted, std::string("epoll: ") + std::strerror(errno));
  return Status::ok();
}

Status ControlPlaneImpl::begin() {
  auto thread = base::Thread::start({"baton-control", options_.cpus}, [this] { run(); });
  if (!thread.is_ok()) return thread.status();
  thread_ = std::move(thread).value();
  return Status::ok();
}

Status ControlPlaneImpl::is_stopped() const {
  return Status(StatusCode::kFailedPrecondition, "\"" + options_.name + "\" is stopped");
}

Result<PeerId> ControlPlaneImpl::dial(std::string_view text) {
  auto target = parse_address(text);
  if (!target.is_ok()) return target.status();
  if (target->name == options_.name) {
    return Status(
        StatusCode::kInvalidArgument,
        "\"" + options_.name + "\" cannot dial " + std::string(text) + ": both have the same name");
  }
  if (target->auth == AuthMode::kPsk && tls_ == nullptr) {
    return Status(StatusCode::kPermissionDenied,
                  "\"" + target->name + "\" has a secret (" + std::string(text) + ") and \"" +
                      options_.name + "\" has none; give both the same secret file");
  }
  if (target->auth == AuthMode::kNone && tls_ != nullptr) {
    return Status(StatusCode::kPermissionDenied,
                  "\"" + options_.name + "\" has a secret and \"" + target->name + "\" has none (" +
                      std::string(text) + "); give both the same secret file");
  }
  auto candidates = resolve_address(target->host, target->port);
  if (!candidates.is_ok()) return candidates.status();
  const PeerId peer(next_peer_.fetch_add(1, std::memory_order_relaxed));
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return is_stopped();
    mailbox_.emplace_back(
        DialCommand{peer, std::move(target).value(), std::move(candidates).value()});
  }
  wake();
  return peer;
}

Status ControlPlaneImpl::send(PeerId peer, const wire::Message& message) {
  auto frame = wire::encode(message);
  if (!frame.is_ok()) return frame.status();
  const size_t size = frame->size();
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return is_stopped();
    const auto found = outboxes_.find(peer);
    if (found == outboxes_.end()) {
      return Status(StatusCode::kNotFound,
                    "peer " + std::to_string(peer.value) + " is not connected");
    }
    std::atomic<size_t>& queued = found->second->queued_bytes;
    const size_t before = queued.load(std::memory_order_relaxed);
    if (before != 0 && before + size > options_.limits.send_queue_bytes) {
      return Status(StatusCode::kBusy, "peer " + std::to_string(peer.value) +
                                           " does not read: " + std::to_string(before) +
                                           " bytes of control messages wait for it");
    }
    queued.fetch_add(size, std::memory_order_relaxed);
    mailbox_.emplace_back(SendCommand{peer, std::move(frame).value()});
  }
  wake();
  return Status::ok();
}

size_t ControlPlaneImpl::unsent_bytes(PeerId peer) const {
  const std::lock_guard lock(mutex_);
  const auto found = outboxes_.find(peer);
  return found == outboxes_.end() ? 0 : found->second->queued_bytes.load(std::memory_order_relaxed);
}

Status ControlPlaneImpl::broadcast(const wire::Message& message) {
  auto frame = wire::encode(message);
  if (!frame.is_ok()) return frame.status();
  post(BroadcastCommand{std::move(frame).value()});
  return Status::ok();
}

void ControlPlaneImpl::post(ControlCommand command) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    mailbox_.push_back(std::move(command));
  }
  wake();
}

Result<wire::StreamTicket> ControlPlaneImpl::expect_stream(PeerId peer, PathEpoch epoch) {
  Ticket ticket;
  ticket.peer = peer;
  ticket.epoch = epoch;
  ticket.deadline_ns = clock_.now_ns() + int64_t{options_.dial_timeout_ms} * 1'000'000;
  base::secure_random_bytes(ticket.secret);
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return is_stopped();
    if (!outboxes_.contains(peer)) {
      return Status(StatusCode::kNotFound,
                    "peer " + std::to_string(peer.value) + " is not connected");
    }
    const auto open = std::count_if(tickets_.begin(), tickets_.end(),
                                    [&](const Ticket& t) { return t.peer == peer; });
    if (open >= static_cast<ptrdiff_t>(kMaxTicketsPerPeer)) {
      return Status(StatusCode::kBusy, "peer " + std::to_string(peer.value) + " has " +
                                           std::to_string(open) +
                                           " data sockets that it has not dialled yet");
    }
    tickets_.push_back(ticket);
    mailbox_.emplace_back(ExpectCommand{});
  }
  wake();
  return ticket.secret;
}

void ControlPlaneImpl::set_alarm(int64_t at_ns) {
  int64_t set = alarm_ns_.load();
  while (at_ns < set && !alarm_ns_.compare_exchange_weak(set, at_ns)) {
  }
  if (at_ns < set) wake();
}

void ControlPlaneImpl::wake() {
  if (sleeps_.exchange(false)) event_->signal();
}

void ControlPlaneImpl::stop() {
  const std::lock_guard stop_lock(stop_mutex_);
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  stopping_.store(true);
  if (event_) event_->signal();
  thread_.join();
  links_.clear();
  listener_.reset();
}

Result<std::unique_ptr<ControlPlane>> ControlPlane::start(ControlOptions options,
                                                          ControlHandler* handler,
                                                          base::Logger& logger,
                                                          base::Clock& clock) {
  auto plane = create(std::move(options), handler, logger, clock);
  if (plane.is_ok()) BATON_RETURN_IF_ERROR((*plane)->begin());
  return plane;
}

Result<std::unique_ptr<ControlPlane>> ControlPlane::create(ControlOptions options,
                                                           ControlHandler* handler,
                                                           base::Logger& logger,
                                                           base::Clock& clock) {
  BATON_ASSERT(handler != nullptr, "a ControlPlane has a handler");
  BATON_RETURN_IF_ERROR(options.validate());
  auto impl = std::make_unique<ControlPlaneImpl>(std::move(options), handler, logger, clock);
  BATON_RETURN_IF_ERROR(impl->open());
  return std::unique_ptr<ControlPlane>(new ControlPlane(std::move(impl)));
}

ControlPlane::ControlPlane(std::unique_ptr<ControlPlaneImpl> impl) : impl_(std::move(impl)) {}
ControlPlane::~ControlPlane() { impl_->stop(); }

Status ControlPlane::begin() { return impl_->begin(); }

const std::string& ControlPlane::address() const { return impl_->address(); }
const BootId& ControlPlane::boot_id() const { return impl_->boot_id(); }
Result<PeerId> ControlPlane::dial(std::string_view address) { return impl_->dial(address); }
Status ControlPlane::send(PeerId peer, const wire::Message& message) {
  return impl_->send(peer, message);
}
size_t ControlPlane::unsent_bytes(PeerId peer) const { return impl_->unsent_bytes(peer); }
Status ControlPlane::broadcast(const wire::Message& message) { return impl_->broadcast(message); }
void ControlPlane::disconnect(PeerId peer, const Status& why) {
  impl_->post(DisconnectCommand{peer, why});
}
void ControlPlane::abandon_dial(PeerId dialed, const Status& why) {
  impl_->post(AbandonDialCommand{dialed, why});
}
Result<wire::StreamTicket> ControlPlane::expect_stream(PeerId peer, PathEpoch epoch) {
  return impl_->expect_stream(peer, epoch);
}
void ControlPlane::open_stream(PeerId peer, PathEpoch epoch, const wire::StreamTicket& ticket) {
  impl_->post(OpenStreamCommand{peer, epoch, ticket});
}
void ControlPlane::set_alarm(int64_t at_ns) { impl_->set_alarm(at_ns); }
void ControlPlane::stop() { impl_->stop(); }

}  // namespace baton::control
