#include "tests/support/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using SteadyClock = std::chrono::steady_clock;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::abort();
}

// Runs in the child of a process that may have threads: async-signal-safe calls only.
[[noreturn]] void become(char* const* argv, int stdin_fd, int stdout_fd, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before the line above.
  if (::getppid() != parent) ::_exit(125);
  // dup2 clears close-on-exec; all other descriptors of ours close by it.
  if (::dup2(stdin_fd, STDIN_FILENO) < 0 || ::dup2(stdout_fd, STDOUT_FILENO) < 0) ::_exit(126);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(argv[0], argv);
  ::_exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const std::string& program, const std::vector<std::string>& arguments) {
  // A socket pair rather than a pipe to the child: a write to a dead one is then an error and not
  // SIGPIPE.
  int to_child[2];
  int from_child[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to_child) != 0) die("socketpair");
  if (::pipe2(from_child, O_CLOEXEC) != 0) die("pipe2");

  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  const pid_t parent = ::getpid();
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) die("fork");
  if (pid_ == 0) become(argv.data(), to_child[1], from_child[1], parent);
  ::close(to_child[1]);
  ::close(from_child[1]);
  to_child_ = to_child[0];
  from_child_ = from_child[0];
}

ChildProcess ChildProcess::self(const std::vector<std::string>& arguments) {
  return ChildProcess("/proc/self/exe", arguments);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      to_child_(std::exchange(other.to_child_, -1)),
      from_child_(std::exchange(other.from_child_, -1)),
      unread_(std::move(other.unread_)),
      exit_(other.exit_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  // The former self goes with `former`.
  ChildProcess former(std::move(other));
  std::swap(pid_, former.pid_);
  std::swap(to_child_, former.to_child_);
  std::swap(from_child_, former.from_child_);
  std::swap(unread_, former.unread_);
  std::swap(exit_, former.exit_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0 && !exit_) kill();
  close_stdin();
  if (from_child_ >= 0) ::close(from_child_);
}

bool ChildProcess::write_line(const std::string& line) {
  const std::string text = line + "\n";
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t sent = ::send(to_child_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    done += static_cast<size_t>(sent);
  }
  return true;
}

void ChildProcess::close_stdin() {
  if (to_child_ >= 0) ::close(std::exchange(to_child_, -1));
}

ChildProcess::Fill ChildProcess::fill(SteadyClock::time_point deadline) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    pollfd readable{from_child_, POLLIN, 0};
    const int rc = ::poll(&readable, 1, std::max(0, static_cast<int>(left.count())));
    if (rc < 0 && errno == EINTR) continue;
    if (rc <= 0) return Fill::kLate;
    char buffer[4096];
    const ssize_t got = ::read(from_child_, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Fill::kEnd;
    unread_.append(buffer, static_cast<size_t>(got));
    return Fill::kGrown;
  }
}

std::optional<std::string> ChildProcess::read_line(std::chrono::milliseconds limit) {
  const auto deadline = SteadyClock::now() + limit;
  do {
    if (const size_t end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
  } while (fill(deadline) == Fill::kGrown);
  return std::nullopt;
}

bool ChildProcess::read_to_end(std::string* text, std::chrono::milliseconds limit) {
  const auto deadline = SteadyClock::now() + limit;
  Fill last;
  while ((last = fill(deadline)) == Fill::kGrown) {
  }
  *text += std::exchange(unread_, {});
  return last == Fill::kEnd;
}

std::optional<std::string> ChildProcess::read_line_after(const std::string& prefix,
                                                         std::chrono::milliseconds limit) {
  const auto deadline = SteadyClock::now() + limit;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    std::optional<std::string> line = read_line(std::max(left, std::chrono::milliseconds(0)));
    if (!line) return std::nullopt;
    if (line->rfind(prefix, 0) == 0) return line->substr(prefix.size());
  }
}

void ChildProcess::send_signal(int signal) {
  if (!exit_) ::kill(pid_, signal);
}

void ChildProcess::kill() {
  send_signal(SIGKILL);
  int status = 0;
  while (!exit_) {
    if (::waitpid(pid_, &status, 0) == pid_) {
      reap(status);
    } else if (errno != EINTR) {
      die("waitpid");
    }
  }
}

void ChildProcess::stop() {
  send_signal(SIGSTOP);
  int status = 0;
  while (!exit_) {
    if (::waitpid(pid_, &status, WUNTRACED) == pid_) {
      if (WIFSTOPPED(status)) return;
      reap(status);
    } else if (errno != EINTR) {
      die("waitpid");
    }
  }
}

void ChildProcess::resume() { send_signal(SIGCONT); }

std::optional<ChildProcess::Exit> ChildProcess::wait_exit(std::chrono::milliseconds limit) {
  wait_until(
      [this] {
        int status = 0;
        if (!exit_ && ::waitpid(pid_, &status, WNOHANG) == pid_) reap(status);
        return exit_.has_value();
      },
      limit);
  return exit_;
}

void ChildProcess::reap(int status) {
  if (WIFSIGNALED(status)) {
    exit_ = Exit{true, WTERMSIG(status)};
  } else if (WIFEXITED(status)) {
    exit_ = Exit{false, WEXITSTATUS(status)};
  }
}

}  // namespace baton_test
