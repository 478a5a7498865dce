#include "tests/support/command.h"

namespace baton_test {

ChildProcess start_command(const std::string& program, const std::vector<std::string>& arguments) {
  // The shell only joins the streams; exec makes the process the tool's own.
  std::vector<std::string> shell = {"-c", "exec \"$0\" \"$@\" 2>&1", program};
  shell.insert(shell.end(), arguments.begin(), arguments.end());
  return ChildProcess("/bin/sh", shell);
}

Finished finish_command(ChildProcess& process, std::chrono::milliseconds limit) {
  Finished finished;
  const bool is_over = process.read_to_end(&finished.text, limit);
  // Its output may be closed a moment before it is gone.
  const auto exit = is_over ? process.wait_exit() : std::nullopt;
  if (!exit) {
    process.kill();
    finished.text += "\n[killed: not over in time]\n";
  } else if (!exit->signalled) {
    finished.code = exit->code;
  }
  return finished;
}

Finished run_command(const std::string& program, const std::vector<std::string>& arguments) {
  ChildProcess process = start_command(program, arguments);
  return finish_command(process);
}

}  // namespace baton_test
