#include "src/base/thread.h"

#include <sched.h>

#include <csignal>
#include <cstring>
#include <memory>
#include <utility>

#include "src/base/assert.h"

namespace baton::base {
namespace {

constexpr size_t kMaxNameBytes = 15;

struct Start {
  std::string name;
  std::function<void()> body;
};

void* thread_main(void* argument) {
  std::unique_ptr<Start> start(static_cast<Start*>(argument));
  ::pthread_setname_np(::pthread_self(), start->name.c_str());
  start->body();
  return nullptr;
}

std::string cpu_list(const std::vector<int>& cpus) {
  std::string text;
  for (const int cpu : cpus) text += (text.empty() ? "" : ",") + std::to_string(cpu);
  return text;
}

// RAII for pthread_attr_t.
class Attributes {
 public:
  Attributes() { BATON_ASSERT(::pthread_attr_init(&attributes_) == 0, "attributes can be made"); }
  ~Attributes() { ::pthread_attr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  pthread_attr_t* get() { return &attributes_; }

 private:
  pthread_attr_t attributes_;
};

Status set_cpus(const ThreadOptions& options, Attributes& attributes) {
  if (options.cpus.empty()) return Status::ok();
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : options.cpus) {
    if (cpu < 0 || cpu >= CPU_SETSIZE) {
      return Status(StatusCode::kInvalidArgument, "thread " + options.name + ": CPU " +
                                                      std::to_string(cpu) + " is not in [0, " +
                                                      std::to_string(CPU_SETSIZE) + ")");
    }
    CPU_SET(static_cast<size_t>(cpu), &set);
  }
  BATON_ASSERT(::pthread_attr_setaffinity_np(attributes.get(), sizeof(set), &set) == 0,
               "a CPU set of the usual size is taken");
  return Status::ok();
}

}  // namespace

Result<Thread> Thread::start(const ThreadOptions& options, std::function<void()> body) {
  Attributes attributes;
  BATON_RETURN_IF_ERROR(set_cpus(options, attributes));
  auto start =
      std::make_unique<Start>(Start{options.name.substr(0, kMaxNameBytes), std::move(body)});

  // A thread inherits its creator's mask: blocked here, so that not even its first instruction can
  // run a handler.
  sigset_t all;
  sigset_t previous;
  ::sigfillset(&all);
  BATON_ASSERT(::pthread_sigmask(SIG_SETMASK, &all, &previous) == 0, "a signal mask can be set");
  pthread_t handle{};
  const int rc = ::pthread_create(&handle, attributes.get(), &thread_main, start.get());
  BATON_ASSERT(::pthread_sigmask(SIG_SETMASK, &previous, nullptr) == 0,
               "a signal mask can be restored");
  if (rc == EINVAL && !options.cpus.empty()) {
    return Status(StatusCode::kInvalidArgument, "thread " + options.name + ": none of the CPUs " +
                                                    cpu_list(options.cpus) + " is usable here");
  }
  if (rc != 0) {
    return Status(StatusCode::kExhausted,
                  "thread " + options.name + ": pthread_create: " + std::strerror(rc));
  }
  static_cast<void>(start.release());  // thread_main owns it
  return Thread(handle);
}

Thread::Thread(Thread&& other) noexcept
    : handle_(other.handle_), running_(std::exchange(other.running_, false)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  join();
  handle_ = other.handle_;
  running_ = std::exchange(other.running_, false);
  return *this;
}

void Thread::join() {
  if (!running_) return;
  BATON_ASSERT(::pthread_equal(handle_, ::pthread_self()) == 0, "a thread does not join itself");
  BATON_ASSERT(::pthread_join(handle_, nullptr) == 0, "a running thread can be joined");
  running_ = false;
}

}  // namespace baton::base
