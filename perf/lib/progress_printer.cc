#include "perf/lib/progress_printer.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace baton_perf {

ProgressPrinter::ProgressPrinter(std::string prefix, bool quiet)
    : prefix_(std::move(prefix)), quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressPrinter::~ProgressPrinter() { finish(); }

void ProgressPrinter::show(const std::string& text) {
  if (quiet_) return;
  const char* format = terminal_ ? "\r%s: %s\033[K" : "%s: %s\n";
  std::fprintf(stderr, format, prefix_.c_str(), text.c_str());
  std::fflush(stderr);
  open_ = terminal_;
}

void ProgressPrinter::finish() {
  if (open_) std::fprintf(stderr, "\r\033[K");
  open_ = false;
}

}  // namespace baton_perf
