#include "perf/pair/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "perf/lib/clock.h"
#include "perf/pair/exit_code.h"

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

// What the signal handler kills; 0: nothing. A handler has no other way to learn of it.
std::atomic<pid_t> child_of_handler{0};
static_assert(std::atomic<pid_t>::is_always_lock_free, "read in a signal handler");

extern "C" void end_by_signal(int signal) {
  const pid_t pid = child_of_handler.exchange(0);
  if (pid > 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  ::_exit(kExitSignal + signal);
}

// In the new process: nothing but system calls until exec.
[[noreturn]] void become(pid_t parent, int output, char* const* arguments) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before the line above.
  if (::getppid() != parent) ::_exit(kExitPeerLost);
  ::dup2(output, STDOUT_FILENO);
  ::execv("/proc/self/exe", arguments);
  ::_exit(127);
}

Status ended(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Status::ok();
  const std::string how = WIFEXITED(status) ? "with status " + std::to_string(WEXITSTATUS(status))
                                            : "by signal " + std::to_string(WTERMSIG(status));
  return {StatusCode::kPeerLost, "the listening process ended " + how};
}

}  // namespace

void exit_on_signals() {
  struct sigaction action {};
  action.sa_handler = end_by_signal;
  sigfillset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

Result<Child> Child::start(const std::vector<std::string>& arguments) {
  std::string name = "baton-perf";
  std::vector<std::string> texts = arguments;
  std::vector<char*> pointers = {name.data()};
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return {StatusCode::kIoError, std::string("pipe2: ") + std::strerror(errno)};
  }
  // The handler must not run between fork and the note of what it has to kill.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  const int error = errno;
  if (pid == 0) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    become(parent, ends[1], pointers.data());
  }
  if (pid > 0) child_of_handler = pid;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(ends[1]);
  if (pid < 0) {
    ::close(ends[0]);
    return {StatusCode::kIoError, std::string("fork: ") + std::strerror(error)};
  }
  return Child(pid, ends[0]);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::exchange(other.output_, -1)),
      unread_(std::move(other.unread_)) {}

Child::~Child() {
  wait(0).ignore();
  if (output_ >= 0) ::close(output_);
}

Result<std::string> Child::read_line(uint32_t timeout_ms) {
  const int64_t deadline_ns = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  while (true) {
    const size_t end = unread_.find('\n');
    if (end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    const int64_t left_ms = (deadline_ns - monotonic_ns()) / 1'000'000;
    pollfd entry{output_, POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(left_ms, 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      return {StatusCode::kDeadlineExceeded,
              "the listening process gave no address in " + std::to_string(timeout_ms) + " ms"};
    }
    char bytes[512];
    const ssize_t got = ::read(output_, bytes, sizeof(bytes));
    if (got > 0) unread_.append(bytes, static_cast<size_t>(got));
    if (got == 0) {
      const Status how = wait(1000);
      return {StatusCode::kPeerLost,
              how.is_ok() ? "the listening process ended at once" : how.message()};
    }
  }
}

Status Child::wait(uint32_t timeout_ms) {
  if (pid_ <= 0) return Status::ok();
  const int64_t deadline_ns = monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
  // A descriptor of the process polls readable when it has ended.
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  pollfd entry{process, POLLIN, 0};
  int ready = -1;
  do {
    const int64_t left_ms = (deadline_ns - monotonic_ns()) / 1'000'000;
    ready = ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(left_ms, 0)));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) ::kill(pid_, SIGKILL);
  if (process >= 0) ::close(process);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  child_of_handler = 0;
  pid_ = -1;
  return ended(status);
}

}  // namespace baton_perf
