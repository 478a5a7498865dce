#include "src/base/event_fd.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "src/base/assert.h"

namespace baton::base {

Result<EventFd> EventFd::create() {
  UniqueFd fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd.is_valid()) {
    const StatusCode code =
        errno == EMFILE || errno == ENFILE ? StatusCode::kExhausted : StatusCode::kIoError;
    return Status(code, std::string("eventfd: ") + std::strerror(errno));
  }
  return EventFd(std::move(fd));
}

void EventFd::signal() const {
  const uint64_t one = 1;
  ssize_t written = 0;
  do {
    written = ::write(fd_.get(), &one, sizeof(one));
  } while (written < 0 && errno == EINTR);
  // EAGAIN: the count is at its end, so it is set already.
  BATON_ASSERT(written == sizeof(one) || errno == EAGAIN, "an eventfd can be written");
}

bool EventFd::clear() const {
  uint64_t count = 0;
  ssize_t got = 0;
  do {
    got = ::read(fd_.get(), &count, sizeof(count));
  } while (got < 0 && errno == EINTR);
  BATON_ASSERT(got == sizeof(count) || errno == EAGAIN, "an eventfd can be read");
  return got == sizeof(count);
}

}  // namespace baton::base
