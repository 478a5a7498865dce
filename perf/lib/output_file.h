// OutputFile: a result file that is opened before the work, so that a wrong path costs no
// measurement, and written whole at its end.
//
// Ownership: RAII. A regular file that was not written completely is removed again.
#pragma once

#include <string>
#include <string_view>

#include "baton/status.h"

namespace baton_perf {

class OutputFile {
 public:
  // kIoError: path and errno. Truncates what was there.
  static baton::Result<OutputFile> create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // Writes everything and closes. kIoError: path, how much did not fit, and errno.
  baton::Status write(std::string_view text);

 private:
  OutputFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  baton::Status failed(const char* what, int error, size_t bytes);

  std::string path_;
  int fd_ = -1;
};

}  // namespace baton_perf
