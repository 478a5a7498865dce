// Runs a tool as a user does and collects what it says.
#pragma once

#include <chrono>
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
// How long a tool may take: under a sanitizer on a busy machine, much longer than alone.
inline constexpr std::chrono::milliseconds kCommandLimit = std::chrono::minutes(3);
// Reads to the end of its output, the last line with or without a break, and waits. What has not
// ended within `limit` is killed: its code is -1.
Finished finish_command(ChildProcess& process, std::chrono::milliseconds limit = kCommandLimit);
// Both.
Finished run_command(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace baton_test
