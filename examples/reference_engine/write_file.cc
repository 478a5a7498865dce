#include "examples/reference_engine/write_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

namespace baton_engine {

namespace {

using baton::Status;
using baton::StatusCode;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  // What close() returns; an error may show only here (network file systems).
  int close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

// `call` is what failed, `error` its errno.
Status failed(const std::string& path, const char* call, int error) {
  return {StatusCode::kIoError,
          "cannot write \"" + path + "\": " + call + ": " + std::strerror(error)};
}

// 1 for "/dev/stdout" and so on. Opening these by name would start a redirected file anew.
std::optional<int> own_descriptor(std::string_view path) {
  if (path == "/dev/stdout") return STDOUT_FILENO;
  if (path == "/dev/stderr") return STDERR_FILENO;
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(folder)) continue;
    const std::string_view digits = path.substr(folder.size());
    int fd = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), fd);
    if (error == std::errc() && end == digits.data() + digits.size() && fd >= 0) return fd;
  }
  return std::nullopt;
}

// Writes, flushes and closes.
Status write_all(Descriptor& file, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed(path, "write", errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  // A full disk may show only here. What cannot be flushed (a pipe, a terminal) says EINVAL.
  if (::fsync(file.get()) != 0 && errno != EINVAL && errno != EROFS) {
    return failed(path, "fsync", errno);
  }
  if (file.close() != 0) return failed(path, "close", errno);
  return Status::ok();
}

Status write_directly(const std::string& path, std::string_view bytes) {
  const std::optional<int> own = own_descriptor(path);
  Descriptor file(own ? ::fcntl(*own, F_DUPFD_CLOEXEC, 0)
                      : ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
  if (file.get() < 0) return failed(path, own ? "dup" : "open", errno);
  return write_all(file, path, bytes);
}

// A name in the folder of `target` that no other call uses: process and sequence number.
std::string temporary_name(const std::string& target) {
  static std::atomic<unsigned> sequence{0};
  const size_t slash = target.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : target.substr(0, slash + 1);
  return folder + ".baton-" + std::to_string(::getpid()) + "-" +
         std::to_string(sequence.fetch_add(1, std::memory_order_relaxed)) + ".tmp";
}

// `mode`: of the file that is replaced; none: a new file's.
Status replace(const std::string& path, const std::string& target, std::optional<mode_t> mode,
               std::string_view bytes) {
  const std::string temporary = temporary_name(target);
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file.get() < 0) return failed(path, "open of a temporary file beside it", errno);
  Status status = Status::ok();
  if (mode && ::fchmod(file.get(), *mode) != 0) status = failed(path, "fchmod", errno);
  if (status.is_ok()) status = write_all(file, path, bytes);
  if (status.is_ok() && ::rename(temporary.c_str(), target.c_str()) != 0) {
    status = failed(path, "rename", errno);
  }
  if (!status.is_ok()) ::unlink(temporary.c_str());
  return status;
}

}  // namespace

Status write_file(const std::string& path, std::string_view bytes) {
  if (own_descriptor(path)) return write_directly(path, bytes);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    // ENOENT: a new file, or a folder that is missing, which the temporary file finds out.
    if (errno != ENOENT) return failed(path, "stat", errno);
    return replace(path, path, std::nullopt, bytes);
  }
  if (!S_ISREG(info.st_mode)) return write_directly(path, bytes);
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), &::free);
  if (real == nullptr) return failed(path, "realpath", errno);
  return replace(path, real.get(), info.st_mode & 07777, bytes);
}

}  // namespace baton_engine
