// ProgressPrinter: what a long operation is doing, on standard error: one line that is rewritten on
// a terminal, a line each elsewhere.
//
// Thread rule: one thread.
#pragma once

#include <string>

namespace baton_perf {

class ProgressPrinter {
 public:
  ProgressPrinter(std::string prefix, bool quiet);
  // Ends the rewritten line.
  ~ProgressPrinter();
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  void show(const std::string& text);
  // Ends the rewritten line, so that something else can be written.
  void finish();

 private:
  const std::string prefix_;
  const bool quiet_;
  const bool terminal_;
  bool open_ = false;
};

}  // namespace baton_perf
