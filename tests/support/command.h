// Runs a tool as a user does and collects what it says.
#pragma once

#include <string>
#include <vector>

#include "tests/support/child_process.h"

namespace baton_test {

struct Finished {
  int code = -1;     // exit status; -1: it did not end, or a signal ended it
  std::string text;  // standard output and error
};

// Starts `program` with standard error joined to standard output.
ChildProcess start_command(const std::string& program, const std::vector<std::string>& arguments);
// Reads to the end of its output and waits.
Finished finish_command(ChildProcess& process);
// Both.
Finished run_command(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace baton_test
