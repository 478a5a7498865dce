#include "src/base/unique_fd.h"

#include <cerrno>

#include "src/base/assert.h"

namespace baton::base {

void UniqueFd::reset(int fd) {
  BATON_ASSERT(fd < 0 || fd != fd_, "a descriptor has one owner");
  const int old = std::exchange(fd_, fd);
  if (old < 0) return;
  const int saved_errno = errno;
  const int rc = ::close(old);
  BATON_ASSERT(rc == 0 || errno != EBADF, "a descriptor is closed once, by its owner");
  errno = saved_errno;
}

}  // namespace baton::base
