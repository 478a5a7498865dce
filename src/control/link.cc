#include "src/control/link.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "src/base/assert.h"

namespace baton::control {

namespace {

// Enough to keep a socket busy; what is not sealed yet can still be overtaken by a heartbeat.
constexpr size_t kSealAheadBytes = size_t{256} << 10;
constexpr size_t kMaxUnechoed = 64;

Frame heartbeat_frame(Heartbeats& beats, int64_t now_ns) {
  wire::Heartbeat beat;
  if (beats.beat_due) {
    beat.seq = ++beats.sent_seq;
    beats.sent.emplace_back(beat.seq, now_ns);
    if (beats.sent.size() > kMaxUnechoed) beats.sent.pop_front();
  }
  beat.echo = beats.their_seq;
  beat.probe = std::exchange(beats.probe_due, 0);
  beat.probe_echo = std::exchange(beats.probe_echo, 0);
  beats.beat_due = false;
  beats.echo_due = false;
  auto frame = wire::encode(beat);
  BATON_ASSERT(frame.is_ok(), "a heartbeat encodes");
  return std::move(frame).value();
}

}  // namespace

Status Link::seal_frames(int64_t now_ns) {
  if (tls != nullptr && !tls->is_established()) return Status::ok();
  while (out.size() - out_begin < kSealAheadBytes) {
    Frame frame;
    if (stage == Stage::kUp && hello_frames == 0 && (beats.beat_due || beats.echo_due)) {
      frame = heartbeat_frame(beats, now_ns);
    } else if (!frames.empty()) {
      frame = std::move(frames.front());
      frames.pop_front();
      if (hello_frames > 0) --hello_frames;
      // Relaxed: a bound, which orders nothing.
      outbox->queued_bytes.fetch_sub(frame.size(), std::memory_order_relaxed);
    } else {
      break;
    }
    if (tls == nullptr) {
      queue_raw(frame);
      continue;
    }
    BATON_RETURN_IF_ERROR(tls->seal(frame));
    tls->take_output(out);
  }
  return Status::ok();
}

Status Link::flush(int64_t now_ns) {
  for (;;) {
    BATON_RETURN_IF_ERROR(seal_frames(now_ns));
    if (out_begin == out.size()) {
      out.clear();
      out_begin = 0;
      if (out.capacity() > 2 * kSealAheadBytes) out.shrink_to_fit();
      return Status::ok();
    }
    const ssize_t sent =
        send(fd.get(), out.data() + out_begin, out.size() - out_begin, MSG_NOSIGNAL);
    if (sent >= 0) {
      out_begin += static_cast<size_t>(sent);
      // What is moved is less than what has left since the last time: a message of 64 MiB is not
      // moved again for each quarter of a MiB of it.
      if (out_begin > kSealAheadBytes && out_begin > out.size() / 2) {
        out.erase(out.begin(), out.begin() + static_cast<ptrdiff_t>(out_begin));
        out_begin = 0;
      }
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Status::ok();
    return Status(StatusCode::kPeerLost,
                  "connection to " + remote.text() + " broke: send: " + std::strerror(errno));
  }
}

}  // namespace baton::control
