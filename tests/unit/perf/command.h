// Runs a tool as a user does and collects what it says.
#pragma once

#include <string>
#include <vector>

#include "tests/support/child_process.h"

namespace baton_perf {

struct Finished {
  int code = -1;     // exit status; -1: it did not end, or a signal ended it
  std::string text;  // standard output and error
};

// Starts `program` with standard error joined to standard output.
baton_test::ChildProcess start(const std::string& program,
                               const std::vector<std::string>& arguments);
// Reads to the end of its output and waits.
Finished finish(baton_test::ChildProcess& process);
Finished run(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace baton_perf
