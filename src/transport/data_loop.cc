#include "src/transport/data_loop.h"

#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace baton::transport {

DataLoop::DataLoop(Options options, DataWork* work, std::shared_ptr<counter::Waker> waker,
                   std::vector<Rail*> rails, base::Clock& clock)
    : options_(std::move(options)),
      work_(work),
      waker_(std::move(waker)),
      rails_(std::move(rails)),
      clock_(clock) {}

Result<std::unique_ptr<DataLoop>> DataLoop::create(Options options, DataWork* work,
                                                   std::shared_ptr<counter::Waker> waker,
                                                   std::vector<Rail*> rails, base::Clock& clock) {
  auto loop = std::unique_ptr<DataLoop>(
      new DataLoop(std::move(options), work, std::move(waker), std::move(rails), clock));
  loop->epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_.is_valid()) {
    return Status(StatusCode::kIoError,
                  std::string("epoll_create1 for the data thread: ") + std::strerror(errno));
  }
  Status added = loop->add_descriptors();
  if (!added.is_ok()) return added;
  return loop;
}

Status DataLoop::add_descriptors() {
  const auto add = [this](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  if (!add(waker_->fd())) {
    return Status(StatusCode::kIoError,
                  std::string("epoll_ctl for the waker: ") + std::strerror(errno));
  }
  for (Rail* rail : rails_) {
    const int fd = rail->plugin().wait_fd(rail->handle());
    if (fd < 0) {
      must_poll_ = true;
    } else if (!add(fd)) {
      return Status(StatusCode::kIoError,
                    "epoll_ctl for rail " + rail->name() + ": " + std::strerror(errno));
    }
  }
  return Status::ok();
}

DataLoop::~DataLoop() { stop(); }

Status DataLoop::start() {
  base::ThreadOptions options;
  options.name = "baton-data";
  options.cpus = options_.cpus;
  auto thread = base::Thread::start(options, [this] { run(); });
  if (!thread.is_ok()) return thread.status();
  thread_ = std::move(thread).value();
  return Status::ok();
}

void DataLoop::stop() {
  // Release: partner of the acquire in run(); the waker orders the rest.
  stopping_.store(true, std::memory_order_release);
  waker_->wake();
  thread_.join();
}

uint32_t DataLoop::turn() {
  const int64_t now_ns = clock_.now_ns();
  // Relaxed: it is looked at, and orders nothing.
  if (options_.last_turn_ns != nullptr)
    options_.last_turn_ns->store(now_ns, std::memory_order_relaxed);
  uint32_t done = work_->turn(now_ns);
  for (Rail* rail : rails_) done += rail->plugin().progress(rail->handle(), kBudgetBytes);
  return done + work_->after_rails(clock_.now_ns());
}

bool DataLoop::arm() {
  waker_->prepare_sleep();
  bool ready = work_->has_work() || stopping_.load(std::memory_order_acquire);
  for (Rail* rail : rails_) ready = rail->plugin().arm(rail->handle()) != 0 || ready;
  return ready;
}

int64_t DataLoop::next_turn_ns() const {
  const int64_t timer_ns = work_->next_timer_ns();
  return must_poll_ ? std::min(timer_ns, clock_.now_ns() + kPollIntervalNs) : timer_ns;
}

void DataLoop::sleep(int64_t until_ns) {
  if (!arm()) {
    int64_t wait_ns = std::min(until_ns, next_turn_ns()) - clock_.now_ns();
    wait_ns = std::clamp<int64_t>(wait_ns, 0, 1'000'000'000);
    timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
    epoll_event events[8];
    // A signal or a failure ends the sleep early, which is harmless.
    (void)::epoll_pwait2(epoll_.get(), events, 8, &timeout, nullptr);
  }
  waker_->finish_sleep();
}

void DataLoop::run() {
  const int64_t busy_poll_ns = int64_t{options_.busy_poll_us} * 1000;
  int64_t last_work_ns = clock_.now_ns();
  while (!stopping_.load(std::memory_order_acquire)) {
    if (turn() != 0) {
      last_work_ns = clock_.now_ns();
    } else if (clock_.now_ns() - last_work_ns >= busy_poll_ns) {
      sleep(INT64_MAX);
    }
  }
}

}  // namespace baton::transport
