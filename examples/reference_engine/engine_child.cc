#include "examples/reference_engine/engine_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "examples/reference_engine/engine_interrupt.h"
#include "examples/reference_engine/engine_progress.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr int kSliceMs = 100;

// In the new process: nothing but system calls until exec.
[[noreturn]] void become(pid_t parent, int output, std::span<const int> descriptors,
                         char* const* arguments) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before the line above.
  if (::getppid() != parent) ::_exit(127);
  ::dup2(output, STDOUT_FILENO);
  for (const int descriptor : descriptors) ::fcntl(descriptor, F_SETFD, 0);
  ::execv("/proc/self/exe", arguments);
  ::_exit(127);
}

}  // namespace

Result<EngineChild> EngineChild::start(std::string name, const std::vector<std::string>& arguments,
                                       const std::vector<int>& descriptors) {
  std::string program = "baton-engine";
  std::vector<std::string> texts = arguments;
  std::vector<char*> pointers = {program.data()};
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return {StatusCode::kIoError, std::string("pipe2: ") + std::strerror(errno)};
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  const int error = errno;
  if (pid == 0) become(parent, ends[1], descriptors, pointers.data());
  ::close(ends[1]);
  if (pid < 0) {
    ::close(ends[0]);
    return {StatusCode::kIoError, std::string("fork: ") + std::strerror(error)};
  }
  return EngineChild(std::move(name), pid, ends[0]);
}

EngineChild::EngineChild(EngineChild&& other) noexcept
    : name_(std::move(other.name_)),
      pid_(std::exchange(other.pid_, -1)),
      output_(std::exchange(other.output_, -1)),
      status_(other.status_),
      unread_(std::move(other.unread_)) {}

EngineChild::~EngineChild() {
  if (pid_ > 0) ::kill(pid_, SIGTERM);
  if (!wait(2000)) {
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
  }
  if (output_ >= 0) ::close(output_);
}

Result<std::string> EngineChild::read_line(uint32_t timeout_ms) {
  const int64_t deadline_ns = now_ns() + int64_t{timeout_ms} * 1'000'000;
  while (true) {
    const size_t end = unread_.find('\n');
    if (end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
    if (now_ns() > deadline_ns) {
      return {StatusCode::kDeadlineExceeded,
              name_ + " was not ready in " + std::to_string(timeout_ms) + " ms"};
    }
    pollfd entry{output_, POLLIN, 0};
    if (::poll(&entry, 1, kSliceMs) <= 0) continue;
    char bytes[512];
    const ssize_t got = ::read(output_, bytes, sizeof(bytes));
    if (got > 0) unread_.append(bytes, static_cast<size_t>(got));
    if (got == 0) {
      wait(2000);
      return {StatusCode::kPeerLost, name_ + " ended before it was ready: " + how_it_ended()};
    }
  }
}

bool EngineChild::wait(uint32_t timeout_ms) {
  if (pid_ <= 0) return true;
  // A descriptor of the process polls readable when it has ended.
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  const int64_t deadline_ns = now_ns() + int64_t{timeout_ms} * 1'000'000;
  int ready = 0;
  while (ready <= 0 && process >= 0) {
    const int64_t left_ms = (deadline_ns - now_ns()) / 1'000'000;
    pollfd entry{process, POLLIN, 0};
    ready = ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(left_ms, 0)));
    if (ready == 0 || (ready < 0 && errno != EINTR)) break;
  }
  if (process >= 0) ::close(process);
  const pid_t reaped = ::waitpid(pid_, &status_, WNOHANG);
  if (reaped == 0) return false;
  pid_ = -1;
  return true;
}

std::string EngineChild::how_it_ended() const {
  if (pid_ > 0) return "it still runs";
  if (WIFEXITED(status_)) return "exit status " + std::to_string(WEXITSTATUS(status_));
  return "killed by signal " + std::to_string(WTERMSIG(status_));
}

}  // namespace baton_engine
