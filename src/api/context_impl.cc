#include "src/api/context_impl.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>
#include <thread>

#include "baton/plugin/builtin.h"
#include "src/api/own_time.h"
#include "src/base/assert.h"

namespace baton::api {

namespace {

constexpr int64_t kMsNs = 1'000'000;
// A request's end after its cancel: 500 ms to quiet, 1.5 s to a verdict, and the fence.
constexpr int64_t kEndAfterCancelNs = 2'500 * kMsNs;

std::string default_name(uint64_t random) {
  char host[128] = {};
  if (::gethostname(host, sizeof(host) - 1) != 0) std::strcpy(host, "host");
  std::string name;
  for (const char* c = host; *c != '\0'; ++c) {
    const bool plain =
        (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
    name += plain ? *c : '-';
  }
  char digits[8];
  std::snprintf(digits, sizeof(digits), "%06x", static_cast<unsigned>(random & 0xffffff));
  return name.substr(0, 64) + "-" + std::to_string(::getpid()) + "-" + digits;
}

}  // namespace

ContextImpl::ContextImpl(ContextOptions options, const Environment& environment)
    : options_(std::move(options)),
      environment_(environment.with_defaults()),
      clock_(*environment_.clock),
      logger_(options_.log_level, options_.log_callback) {
  if (options_.name.empty()) options_.name = default_name(environment_.random());
  created_ns_ = clock_.now_ns();
}

ContextImpl::~ContextImpl() { close(0).ignore(); }

Result<std::shared_ptr<ContextImpl>> ContextImpl::create(ContextOptions options,
                                                         const Environment& environment) {
  Status valid = options.validate();
  if (!valid.is_ok()) return valid;
  BATON_ASSERT(environment.clock == nullptr ||
                   (environment.sleep != nullptr && options.progress == ProgressMode::kCaller),
               "whoever brings a clock sleeps and drives by it");
  // Queues and tables are made here, of megabytes: where an address space is limited they may not
  // fit, which is the caller's to know.
  try {
    std::shared_ptr<ContextImpl> impl(new ContextImpl(std::move(options), environment));
    Status started = impl->start();
    if (!started.is_ok()) return started;
    return impl;
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kExhausted, "memory ran out while the Context was being opened");
  }
}

Status ContextImpl::start() {
  auto waker = counter::Waker::create();
  if (!waker.is_ok()) return waker.status();
  waker_ = std::move(waker).value();
  auto counters = counter::CounterTable::create();
  if (!counters.is_ok()) return counters.status();
  counters_ = std::move(counters).value();
  auto event_fd = base::EventFd::create();
  if (!event_fd.is_ok()) return event_fd.status();
  events_ = std::make_unique<EventQueue>(std::move(event_fd).value(), options_.max_events);

  handoff::Engine::Limits limits;
  limits.max_submissions = options_.max_submissions;
  limits.max_live = options_.max_live;
  engine_ =
      std::make_unique<handoff::Engine>(limits, this, counters_.get(), waker_, clock_, logger_);
  BATON_RETURN_IF_ERROR(open_rails());

  transport::DataLoop::Options loop_options;
  loop_options.busy_poll_us = options_.busy_poll_us;
  loop_options.cpus = options_.data_cpus;
  loop_options.last_turn_ns = &meters_.last_turn_ns;
  std::vector<transport::Rail*> rails;
  for (const auto& rail : rails_) rails.push_back(rail.get());
  auto loop = transport::DataLoop::create(loop_options, engine_.get(), waker_, rails, clock_);
  if (!loop.is_ok()) return loop.status();
  loop_ = std::move(loop).value();
  if (options_.progress == ProgressMode::kThread) {
    BATON_RETURN_IF_ERROR(loop_->start());
  } else {
    auto caller_fd = CallerFd::create(events_->fd(), loop_->fd());
    if (!caller_fd.is_ok()) return caller_fd.status();
    caller_fd_.emplace(std::move(caller_fd).value());
    const std::lock_guard<std::mutex> lock(progress_mutex_);
    rest(false);
  }
  return start_control();
}

Status ContextImpl::open_rails() {
  BATON_RETURN_IF_ERROR(plugins_.add_builtin(baton_plugin_tcp()));
  BATON_RETURN_IF_ERROR(plugins_.add_builtin(baton_plugin_loopback()));
  for (const std::string& file : options_.plugin_files) {
    auto loaded = plugins_.load_file(file);
    if (!loaded.is_ok()) return loaded.status();
  }
  for (const RailOptions& rail_options : options_.rails) {
    auto plugin = plugins_.find(rail_options.plugin);
    if (!plugin.is_ok()) return plugin.status();
    const RailIndex index(static_cast<uint16_t>(rails_.size()));
    auto rail = transport::Rail::open(index, *plugin, rail_options, options_.unit_bytes,
                                      engine_.get(), clock_, logger_, environment_.random());
    if (!rail.is_ok()) return rail.status();
    rail_reads_.push_back((*rail)->has(BATON_CAP_READ));
    rails_.push_back(std::move(rail).value());
  }
  std::vector<transport::Rail*> rails;
  for (const auto& rail : rails_) rails.push_back(rail.get());
  engine_->set_rails(std::move(rails));
  return Status::ok();
}

Status ContextImpl::start_control() {
  control::ControlOptions control;
  control.name = options_.name;
  control.bind_host = options_.bind_host;
  control.port = options_.port;
  control.advertise_host = options_.advertise_host;
  control.allow_unauthenticated = options_.allow_unauthenticated;
  control.heartbeat_interval_ms = options_.heartbeat_interval_ms;
  control.dead_after_ms = options_.peer_dead_after_ms;
  control.dial_timeout_ms = options_.connect_timeout_ms;
  control.cpus = options_.control_cpus;
  control.features = control::kFeatureObservers;
  if (!options_.secret_file.empty()) {
    auto secret = control::read_secret_file(options_.secret_file, logger_);
    if (!secret.is_ok()) return secret.status();
    control.secret = std::move(secret).value();
  }
  auto created = environment_.make_control(control, this, logger_, clock_);
  if (!created.is_ok()) return created.status();
  control_ = std::move(created).value();
  address_ = control_->address();
  BATON_RETURN_IF_ERROR(start_metrics());
  // A peer may be at the port already: its messages find everything in place.
  return control_->begin();
}

// ---- progress
// -------------------------------------------------------------------------------------------------------

uint32_t ContextImpl::progress() {
  if (options_.progress != ProgressMode::kCaller) return 0;
  const std::lock_guard<std::mutex> lock(progress_mutex_);
  if (loop_ == nullptr) return 0;  // closed
  waker_->finish_sleep();
  const uint32_t done = loop_->turn();
  rest(done > 0);
  return done;
}

void ContextImpl::rest(bool busy) {
  // Between calls whoever has work makes event_fd() readable; so do rails, and time.
  is_turn_due_ = loop_->arm() || busy;
  if (is_turn_due_) waker_->wake();
  // The descriptor's timer knows CLOCK_MONOTONIC alone; whoever brought a clock asks
  // next_turn_ns().
  if (environment_.sleep == nullptr) caller_fd_->wake_at(loop_->next_turn_ns(), clock_.now_ns());
}

int64_t ContextImpl::next_turn_ns() {
  const std::lock_guard<std::mutex> lock(progress_mutex_);
  if (loop_ == nullptr) return INT64_MAX;  // closed
  return is_turn_due_ ? clock_.now_ns() : loop_->next_turn_ns();
}

bool ContextImpl::wait_until(int64_t deadline_ns, const std::function<bool()>& is_done,
                             const std::function<void(int64_t)>& sleep) {
  // A caller who drives sleeps no longer than this at a time: another thread's progress may end the
  // wait.
  constexpr int64_t kDriveSliceNs = 50 * kMsNs;
  while (!is_done()) {
    const int64_t now = clock_.now_ns();
    if (now >= deadline_ns) return is_done();
    if (options_.progress == ProgressMode::kThread) {
      sleep(deadline_ns);
    } else if (progress() == 0 && !is_done()) {
      if (environment_.sleep != nullptr) {
        environment_.sleep(std::min({deadline_ns, now + kDriveSliceNs, next_turn_ns()}));
        continue;
      }
      std::unique_lock<std::mutex> lock(progress_mutex_);
      if (loop_ == nullptr) {  // closed: nothing is left to drive
        lock.unlock();
        sleep(deadline_ns);
        continue;
      }
      loop_->sleep(std::min(deadline_ns, now + kDriveSliceNs));
      rest(false);
    }
  }
  return true;
}

Status ContextImpl::run_on_data(const std::function<void()>& task) {
  const Status gone(StatusCode::kFailedPrecondition, "the Context is closed");
  if (options_.progress == ProgressMode::kCaller) {
    const std::lock_guard<std::mutex> lock(progress_mutex_);
    if (loop_ == nullptr) return gone;
    task();
    return Status::ok();
  }
  std::mutex mutex;
  std::condition_variable done;
  bool is_done = false;
  handoff::Command command = handoff::RunTask{[&] {
    task();
    const std::lock_guard<std::mutex> lock(mutex);
    is_done = true;
    done.notify_one();
  }};
  for (;;) {
    {
      // close() empties the queue for the last time with this lock held: what is in it runs.
      const std::lock_guard<std::mutex> lock(progress_mutex_);
      if (loop_ == nullptr) return gone;
      // A full queue leaves the command as it was.  NOLINTNEXTLINE(bugprone-use-after-move)
      if (engine_->submit(std::move(command)).is_ok()) break;
    }
    std::this_thread::yield();
  }
  std::unique_lock<std::mutex> lock(mutex);
  done.wait(lock, [&] { return is_done; });
  return Status::ok();
}

// ---- events
// ---------------------------------------------------------------------------------------------------------

void ContextImpl::emit(Event event) {
  const PeerId peer = event.peer;
  if (events_->push(std::move(event)).has_value()) return;
  drop_peer(peer, Status(StatusCode::kExhausted,
                         "more messages than ContextOptions::max_events wait unpolled"));
}

int ContextImpl::event_fd() const {
  return caller_fd_.has_value() ? caller_fd_->fd() : events_->fd();
}

Result<Event> ContextImpl::wait_event(uint32_t timeout_ms) {
  std::optional<Event> event;
  const int64_t deadline_ns = clock_.now_ns() + int64_t{timeout_ms} * kMsNs;
  wait_until(
      deadline_ns, [&] { return event.has_value() || (event = events_->take()).has_value(); },
      [&](int64_t until_ns) { event = events_->wait(until_ns); });
  if (event.has_value()) return std::move(*event);
  return Status(StatusCode::kDeadlineExceeded,
                "no event within " + std::to_string(timeout_ms) + " ms");
}

// ---- end
// ------------------------------------------------------------------------------------------------------------

Status ContextImpl::close(uint32_t drain_ms) {
  const std::lock_guard<std::mutex> closing(close_mutex_);
  if (closed_) return Status::ok();
  {
    // No request enters from here on.
    const std::lock_guard<std::mutex> lock(state_mutex_);
    closing_.store(true, std::memory_order_release);
  }
  const bool is_complete = engine_ != nullptr && loop_ != nullptr && control_ != nullptr;
  const bool drained = !is_complete || drain(drain_ms);
  http_.reset();
  if (control_ != nullptr) control_->stop();
  if (loop_ != nullptr) loop_->stop();
  take_down();
  closed_ = true;
  if (drained) return Status::ok();
  return Status(StatusCode::kDeadlineExceeded, "requests that had not ended within " +
                                                   std::to_string(drain_ms) + " ms were cancelled");
}

bool ContextImpl::drain(uint32_t drain_ms) {
  const auto none_lives = [this] { return live_grants_.empty() && live_transfers_.empty(); };
  const auto is_done = [&] {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    return none_lives();
  };
  const auto sleep = [&](int64_t until_ns) {
    std::unique_lock<std::mutex> lock(state_mutex_);
    const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(until_ns)};
    state_changed_.wait_until(lock, until, none_lives);
  };
  if (wait_until(clock_.now_ns() + int64_t{drain_ms} * kMsNs, is_done, sleep)) return true;
  // Whoever waits for a request wakes a moment before it is live no more, and before the peer is
  // told: such a one needs no cancel, but that moment.
  bool all_ended = true;
  std::vector<PeerId> known;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    for (const auto& [id, grant] : live_grants_) all_ended = all_ended && grant->life.is_terminal();
    for (const auto& [id, transfer] : live_transfers_)
      all_ended = all_ended && transfer->life.is_terminal();
    for (const auto& [peer, entry] : peers_) known.push_back(peer);
  }
  for (const PeerId peer : known)
    fail_peer_requests(peer, Status(StatusCode::kCancelled, "the local Context closes"));
  wait_until(clock_.now_ns() + kEndAfterCancelNs, is_done, sleep);
  return all_ended;
}

void ContextImpl::take_down() {
  // A caller who drives, or has a task for the data path, at the same time finds the loop as it
  // was, or gone.
  const std::lock_guard<std::mutex> driving(progress_mutex_);
  if (loop_ != nullptr) {
    OwnTime time(clock_.now_ns());
    // The data thread is gone: what remains is fenced, and what is queued is run, from here.
    while (!engine_->shut_down(clock_.now_ns()) || engine_->has_work()) {
      for (const auto& rail : rails_) rail->plugin().progress(rail->handle(), 1u << 20);
      if (environment_.sleep != nullptr) environment_.sleep(clock_.now_ns() + kMsNs);
      BATON_ASSERT(time.spent_ns(clock_.now_ns()) < kEndAfterCancelNs,
                   "every fence of a plug-in ends");
    }
  }
  // Also those that are not open yet, or whose end is under way.
  for (const auto& record : sections_.all()) {
    record->withdraw();
    unregister_from_rails(*record);
  }
  loop_.reset();
  rails_.clear();
}

}  // namespace baton::api
