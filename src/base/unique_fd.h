// UniqueFd: owns one file descriptor and closes it.
//
// Thread rule: as an int.
#pragma once

#include <unistd.h>

#include <utility>

namespace baton::base {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  // -1 when it owns none.
  int get() const { return fd_; }
  bool is_valid() const { return fd_ >= 0; }
  explicit operator bool() const { return is_valid(); }

  // Gives the descriptor up: the caller closes it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  // Closes what it owns and owns `fd`. errno is kept. Errors of close(2) are dropped: on Linux the
  // descriptor is gone in any case, and EINTR must not be retried.
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

}  // namespace baton::base
