// ChildProcess: a second process of a test. It runs a program (usually this one, with a role in its
// arguments), talks in lines over stdin and stdout, and dies with its owner, whatever happens.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace baton_test {

// Thread rule: one thread at a time. The thread that starts a child outlives it: the child is
// killed when that thread ends (PR_SET_PDEATHSIG).
class ChildProcess {
 public:
  static constexpr std::chrono::milliseconds kDefaultLimit = std::chrono::minutes(1);

  // How it ended.
  struct Exit {
    bool signalled = false;
    int code = 0;  // exit status, or the signal when signalled
    friend bool operator==(const Exit&, const Exit&) = default;
  };

  // Runs `program` (a path) with `arguments` (without argv[0]); standard error is shared. Aborts
  // the test program when it cannot be started.
  ChildProcess(const std::string& program, const std::vector<std::string>& arguments);
  // This very program with other arguments.
  static ChildProcess self(const std::vector<std::string>& arguments);

  ChildProcess(ChildProcess&& other) noexcept;
  // Kills and reaps what this one was.
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  // Kills and reaps it if it still runs.
  ~ChildProcess();

  pid_t pid() const { return pid_; }

  // Writes `line` and a line break. False when the child has closed its stdin.
  bool write_line(const std::string& line);
  void close_stdin();
  // The next line, without its break. Nothing at end of file or after `limit`.
  std::optional<std::string> read_line(std::chrono::milliseconds limit = kDefaultLimit);
  // Appends all that is still to come to `text`. False when `limit` passed before the end of file.
  bool read_to_end(std::string* text, std::chrono::milliseconds limit);
  // Reads lines until one begins with `prefix`, and returns what follows it.
  std::optional<std::string> read_line_after(const std::string& prefix,
                                             std::chrono::milliseconds limit = kDefaultLimit);

  // SIGKILL, and waits until it is dead and reaped.
  void kill();
  // SIGSTOP, and waits until it has stopped.
  void stop();
  // SIGCONT.
  void resume();
  void send_signal(int signal);

  // Waits for its end. Nothing when it still runs after `limit`. Idempotent after the end.
  std::optional<Exit> wait_exit(std::chrono::milliseconds limit = kDefaultLimit);

 private:
  enum class Fill { kGrown, kEnd, kLate };

  // Waits for more output and appends it to `unread_`.
  Fill fill(std::chrono::steady_clock::time_point deadline);
  void reap(int status);

  pid_t pid_ = -1;
  int to_child_ = -1;
  int from_child_ = -1;
  std::string unread_;
  std::optional<Exit> exit_;
};

}  // namespace baton_test
