#include "examples/reference_engine/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace baton_engine {
namespace {

using baton::Result;
using baton::Status;
using baton::StatusCode;

Status errno_status(const std::string& path, const char* call, int error) {
  const StatusCode code = error == ENOENT ? StatusCode::kNotFound : StatusCode::kIoError;
  return Status(code, path + ": " + call + " failed: " + std::generic_category().message(error));
}

Result<FileBytes> read_all(int fd, const std::string& path) {
  struct stat info = {};
  if (::fstat(fd, &info) != 0) return errno_status(path, "fstat", errno);
  if (!S_ISREG(info.st_mode)) {
    return Status(StatusCode::kInvalidArgument, path + ": not a regular file");
  }
  return FileBytes::read_exactly(fd, path, static_cast<size_t>(info.st_size));
}

}  // namespace

Result<FileBytes> FileBytes::read(const std::string& path) {
  // O_NONBLOCK: a named pipe is refused rather than waited for.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno_status(path, "open", errno);
  auto bytes = read_all(fd, path);
  ::close(fd);
  return bytes;
}

Result<FileBytes> FileBytes::read_exactly(int fd, const std::string& path, size_t length_bytes) {
  // malloc: not initialised, and no exception for a length that nobody has memory for.
  Memory data(static_cast<uint8_t*>(std::malloc(length_bytes)));
  if (data == nullptr && length_bytes > 0) {
    return Status(StatusCode::kExhausted,
                  path + ": no memory for its " + std::to_string(length_bytes) + " bytes");
  }
  size_t done = 0;
  while (done < length_bytes) {
    const ssize_t got =
        ::pread(fd, data.get() + done, length_bytes - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_status(path, "read", errno);
    if (got == 0) {
      return Status(StatusCode::kOutOfRange, path + ": ends at byte " + std::to_string(done) +
                                                 " of " + std::to_string(length_bytes) +
                                                 "; it was cut short while it was read");
    }
    done += static_cast<size_t>(got);
  }
  return FileBytes(std::move(data), length_bytes);
}

}  // namespace baton_engine
