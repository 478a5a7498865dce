#include "tests/unit/perf/command.h"

namespace baton_perf {

using baton_test::ChildProcess;

ChildProcess start(const std::string& program, const std::vector<std::string>& arguments) {
  // The shell only joins the streams; exec makes the process the tool's own.
  std::vector<std::string> shell = {"-c", "exec \"$0\" \"$@\" 2>&1", program};
  shell.insert(shell.end(), arguments.begin(), arguments.end());
  return ChildProcess("/bin/sh", shell);
}

Finished finish(ChildProcess& process) {
  Finished finished;
  while (const auto line = process.read_line()) finished.text += *line + "\n";
  const auto exit = process.wait_exit();
  if (exit && !exit->signalled) finished.code = exit->code;
  return finished;
}

Finished run(const std::string& program, const std::vector<std::string>& arguments) {
  ChildProcess process = start(program, arguments);
  return finish(process);
}

}  // namespace baton_perf
