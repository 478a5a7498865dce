#include "src/control/secret.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/assert.h"
#include "src/base/log.h"
#include "src/base/unique_fd.h"

namespace baton::control {

Secret::Secret(std::span<const uint8_t> bytes) : bytes_(bytes.begin(), bytes.end()) {
  BATON_ASSERT(
      bytes.empty() || (bytes.size() >= kMinSecretBytes && bytes.size() <= kMaxSecretBytes),
      "a secret is empty or of a length that read_secret_file accepts");
}

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) {
    wipe();
    bytes_ = other.bytes_;
  }
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
  }
  return *this;
}

Secret::~Secret() { wipe(); }

void Secret::wipe() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

namespace {

Status failed(const std::string& path, const char* call) {
  const int error = errno;
  return Status(error == ENOENT ? StatusCode::kNotFound : StatusCode::kIoError,
                "secret file " + path + ": " + call + ": " + std::strerror(error));
}

Status unfit(const std::string& path, const std::string& why) {
  return Status(StatusCode::kInvalidArgument,
                "secret file " + path + " " + why + "; wanted: " + std::to_string(kMinSecretBytes) +
                    " to " + std::to_string(kMaxSecretBytes) +
                    " random bytes (head -c 32 /dev/urandom > FILE; chmod 600 FILE)");
}

// Bytes of the file, at most kMaxSecretBytes + 1 of them.
Status read_all(int fd, const std::string& path, std::vector<uint8_t>& bytes) {
  bytes.resize(kMaxSecretBytes + 1);
  size_t length = 0;
  while (length < bytes.size()) {
    const ssize_t got = read(fd, bytes.data() + length, bytes.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(path, "read");
    if (got == 0) break;
    length += static_cast<size_t>(got);
  }
  bytes.resize(length);
  return Status::ok();
}

}  // namespace

Result<Secret> read_secret_file(const std::string& path, base::Logger& logger) {
  // Non-blocking, so that a FIFO at this path cannot hang us.
  const base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return failed(path, "open");
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return failed(path, "fstat");
  if (!S_ISREG(info.st_mode)) return unfit(path, "is not a regular file");
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return Status(
        StatusCode::kPermissionDenied,
        "secret file " + path + " may be written by others than its owner: chmod 600 " + path);
  }
  if ((info.st_mode & (S_IRGRP | S_IROTH)) != 0) {
    logger.warning("secret file {} may be read by others than its owner: chmod 600 {}", path, path);
  }
  std::vector<uint8_t> bytes;
  const Status read = read_all(fd.get(), path, bytes);
  Status verdict = read;
  if (read.is_ok() && bytes.size() < kMinSecretBytes) {
    verdict = unfit(path, "has " + std::to_string(bytes.size()) + " bytes");
  } else if (read.is_ok() && bytes.size() > kMaxSecretBytes) {
    verdict = unfit(path, "is longer than " + std::to_string(kMaxSecretBytes) + " bytes");
  } else if (read.is_ok() &&
             std::all_of(bytes.begin(), bytes.end(), [&](uint8_t b) { return b == bytes[0]; })) {
    verdict = unfit(path, "repeats one byte");
  }
  Result<Secret> result = verdict.is_ok() ? Result<Secret>(Secret(bytes)) : Result<Secret>(verdict);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return result;
}

}  // namespace baton::control
