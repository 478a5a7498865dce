// Whole-vector socket I/O: what one TCP stream does at its best.
//
// Thread rule: one thread per direction of a socket.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "baton/status.h"

namespace baton_perf {

// A list of memory ranges of which a part was moved already. Neighbouring ranges are one entry.
class VectorCursor {
 public:
  void clear();
  void append(void* address, size_t length_bytes);
  bool done() const { return next_ == vectors_.size(); }
  // The ranges left: at most as many as one system call takes, and at most `max_bytes` of them.
  // Valid until the next call of a member. REQUIRES: max_bytes > 0.
  std::span<iovec> front(size_t max_bytes);
  // `bytes` of front() were moved.
  void advance(size_t bytes);

 private:
  void restore();

  std::vector<iovec> vectors_;
  size_t next_ = 0;
  size_t cut_index_ = 0;  // the range that front() shortened,
  size_t cut_bytes_ = 0;  // by so much
};

enum class Moved : uint8_t { kAll, kWouldBlock };

// Sends what is left, gathering. With MSG_DONTWAIT in `flags` it may stop early (kWouldBlock).
// kPeerLost: the other end is gone; kIoError: errno.
baton::Result<Moved> send_vector(int fd, VectorCursor& cursor, int flags);
// Receives what is left, scattering. Blocks.
baton::Status receive_vector(int fd, VectorCursor& cursor);
baton::Status receive_exactly(int fd, void* address, size_t length_bytes);

}  // namespace baton_perf
