#include "perf/lib/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

Result<OutputFile> OutputFile::create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    return {StatusCode::kIoError,
            "cannot write the result file \"" + path + "\": " + std::strerror(errno)};
  }
  return OutputFile(path, fd);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

OutputFile::~OutputFile() {
  if (fd_ >= 0) failed("", 0, 0).ignore();
}

Status OutputFile::failed(const char* what, int error, size_t bytes) {
  struct stat info {};
  const bool regular = ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
  ::close(fd_);
  fd_ = -1;
  if (regular) ::unlink(path_.c_str());
  return {StatusCode::kIoError, "cannot " + std::string(what) + " " + std::to_string(bytes) +
                                    " bytes of result to \"" + path_ +
                                    "\": " + std::strerror(error)};
}

Status OutputFile::write(std::string_view text) {
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("write", errno, rest.size());
    rest.remove_prefix(static_cast<size_t>(written));
  }
  // A full disk may show only here (delayed allocation, network file systems).
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) {
    return failed("flush", errno, text.size());
  }
  ::close(fd_);
  fd_ = -1;
  return Status::ok();
}

}  // namespace baton_perf
