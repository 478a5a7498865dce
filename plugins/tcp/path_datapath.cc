#include "plugins/tcp/path.h"

#include <sys/epoll.h>

namespace baton_tcp {

baton_rc Path::post(const baton_post* posts, uint32_t count, uint32_t* accepted) {
  *accepted = 0;
  if (broken_ || fenced_) return BATON_RC_BROKEN;
  const bool behind_others = sender_.pending();
  baton_rc rc = BATON_RC_OK;
  for (; *accepted < count; ++*accepted) {
    const baton_post& post = posts[*accepted];
    if (sender_.check(post) != nullptr) {
      rc = BATON_RC_INVALID;
      break;
    }
    if (!sender_.has_room()) {
      if (*accepted == 0) rc = BATON_RC_AGAIN;
      break;
    }
    sender_.take(post);
  }
  // Straight to the kernel from here, unless others wait: they are progress()'s, which is fair
  // between paths.
  if (*accepted > 0 && !behind_others) sender_.send(fd_, kPostSendBytes);
  return rc;
}

baton_rc Path::flush(uint64_t op) {
  if (broken_ || fenced_) return BATON_RC_BROKEN;
  if (!sender_.has_room()) return BATON_RC_AGAIN;
  const bool behind_others = sender_.pending();
  sender_.take_flush(op);
  if (!behind_others) sender_.send(fd_, kPostSendBytes);
  return BATON_RC_OK;
}

void Path::note_events(uint32_t events) {
  if ((events & EPOLLIN) != 0) receiver_.set_ready();
  if ((events & EPOLLOUT) != 0) sender_.unblock();
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    receiver_.set_hang_up();
    sender_.unblock();
  }
}

bool Path::has_work() const {
  if (fenced_) return false;
  if (sender_.has_reports()) return true;
  if (broken_) return false;
  return receiver_.ready() || sender_.error() != 0 || (sender_.pending() && !sender_.blocked());
}

uint32_t Path::report_writes() {
  auto& reports = sender_.reports();
  uint32_t things = 0;
  for (; !reports.empty(); ++things) {
    const uint64_t op = reports.front();
    reports.pop();
    sender_.finished_one();
    context_.host->op_done(context_.host->context, context_.cookie, op, BATON_OP_DONE);
  }
  return things;
}

uint32_t Path::progress(uint64_t budget_bytes) {
  if (fenced_) return 0;
  uint32_t things = report_writes();
  if (broken_) return things;
  if (receiver_.ready()) things += receiver_.receive(fd_, budget_bytes);
  if (!receiver_.broken() && sender_.pending() && !sender_.blocked()) {
    things += sender_.send(fd_, budget_bytes);
    things += report_writes();
  }
  if (sender_.error() != 0) {
    // What the peer sent before it went is still worth placing: read to the end of the stream, then
    // break.
    if (!receiver_.broken() && receiver_.ready()) return things + 1;
    char reason[BATON_ERROR_BYTES];
    baton_sdk::format_text(reason, "tcp: sendmsg: %s",
                           baton_sdk::ErrnoText(sender_.error()).c_str());
    break_path(reason);
    return things + 1;
  }
  if (receiver_.broken()) {
    break_path(receiver_.reason());
    return things + 1;
  }
  return things;
}

void Path::break_path(const char* reason) {
  broken_ = true;
  context_.host->path_broken(context_.host->context, context_.cookie, reason);
}

}  // namespace baton_tcp
