#include "plugins/loopback/rail.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "baton/plugin/sdk.h"
#include "plugins/loopback/path.h"

namespace baton_loopback {

Rail::~Rail() {
  BATON_SDK_ASSERT(first_path_ == nullptr);
  if (event_fd_ < 0) return;
  ::close(event_fd_);
  const std::lock_guard<std::mutex> lock(fabric_->mutex());
  fabric_->count_rail(-1);
}

baton_rc Rail::open(char* error) {
  event_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event_fd_ < 0) {
    baton_sdk::format_text(error, "loopback: eventfd: %s", baton_sdk::ErrnoText(errno).c_str());
    return BATON_RC_NO_RESOURCE;
  }
  const std::lock_guard<std::mutex> lock(fabric_->mutex());
  fabric_->count_rail(1);
  return BATON_RC_OK;
}

void Rail::capabilities(baton_capabilities* out) const {
  const baton_loopback_plan& plan = fabric_->plan();
  out->flags = (plan.flags & (BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR)) |
               BATON_CAP_SOFTWARE_PLACEMENT | BATON_CAP_READ | BATON_CAP_SAME_HOST |
               BATON_CAP_IN_PROCESS;
  out->immediate_bits = 32;
  out->max_message_bytes = kMaxMessageBytes;
  out->inline_bytes = 0;
  out->max_sources = kMaxSources;
  out->max_posts = plan.max_posts;
  out->receive_depth = plan.receive_depth;
  out->fence_unit = BATON_FENCE_GRANT;
}

// The fabric carries region keys and offsets; nothing is registered with anybody.
baton_rc Rail::region_register(void*, uint64_t, uint64_t tag, baton_region** out,
                               baton_region_key* key) {
  *out = reinterpret_cast<baton_region*>(this);
  key->key = tag;
  key->base = 0;
  return BATON_RC_OK;
}

void Rail::region_unregister(baton_region*) {}

void Rail::close() { baton_sdk::destroy(host_, this); }

baton_rc Rail::path_open(const baton_path_options& options, AnyPath** out, char* error) {
  Path* path = baton_sdk::create<Path>(host_, this);
  if (path == nullptr) {
    baton_sdk::format_text(error, "loopback: the host has no memory for a path");
    return BATON_RC_NO_RESOURCE;
  }
  const baton_rc rc = path->open(options, error);
  if (rc != BATON_RC_OK) {
    baton_sdk::destroy(host_, path);
    return rc;
  }
  // Appended, so that paths are driven in the order in which they were opened.
  Path** end = &first_path_;
  while (*end != nullptr) end = &(*end)->next;
  *end = path;
  *out = path;
  return BATON_RC_OK;
}

void Rail::path_close(Path* path) {
  BATON_SDK_ASSERT(path->fenced());
  Path** link = &first_path_;
  while (*link != path) link = &(*link)->next;
  *link = path->next;
  baton_sdk::destroy(host_, path);
}

uint32_t Rail::progress(uint64_t budget_bytes) {
  uint64_t rings = 0;
  const ssize_t ignored = ::read(event_fd_, &rings, sizeof rings);  // empty: nobody rang
  static_cast<void>(ignored);
  const uint64_t limit = fabric_->plan().bytes_per_progress;
  if (limit > 0 && limit < budget_bytes) budget_bytes = limit;
  uint32_t things = 0;
  for (Path* path = first_path_; path != nullptr; path = path->next) {
    things += path->progress(budget_bytes);
  }
  return things;
}

uint32_t Rail::arm() {
  for (Path* path = first_path_; path != nullptr; path = path->next) {
    if (path->has_work()) return 1;
  }
  return 0;
}

void Rail::ring() const {
  const uint64_t one = 1;
  const ssize_t ignored = ::write(event_fd_, &one, sizeof one);  // full: it is readable already
  static_cast<void>(ignored);
}

}  // namespace baton_loopback
