// The table of the tcp plug-in: plain C in, classes behind.
#include "baton/plugin/plugin.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "baton/plugin/builtin.h"
#include "baton/plugin/sdk.h"
#include "plugins/tcp/path.h"
#include "plugins/tcp/rail.h"

namespace baton_tcp {
namespace {

Rail* rail_of(baton_rail* rail) { return reinterpret_cast<Rail*>(rail); }
Path* path_of(baton_path* path) { return reinterpret_cast<Path*>(path); }

baton_rc probe(const baton_rail_options*, baton_probe* out) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    out->usable = 0;
    baton_sdk::format_text(out->reason, "no TCP socket can be opened: %s",
                           baton_sdk::ErrnoText(errno).c_str());
    baton_sdk::format_text(out->remedy,
                           "raise the limit of open files (ulimit -n), or allow AF_INET sockets "
                           "in this container");
    return BATON_RC_UNAVAILABLE;
  }
  ::close(fd);
  out->usable = 1;
  out->reason[0] = out->remedy[0] = '\0';
  return BATON_RC_OK;
}

baton_rc rail_open(const baton_host* host, const baton_rail_options* options, baton_rail** out,
                   char* error) {
  Rail* rail = baton_sdk::create<Rail>(host, host);
  if (rail == nullptr) {
    baton_sdk::format_text(error, "tcp: the host has no memory for a rail");
    return BATON_RC_NO_RESOURCE;
  }
  const baton_rc rc = rail->open(options, error);
  if (rc != BATON_RC_OK) {
    baton_sdk::destroy(host, rail);
    return rc;
  }
  *out = reinterpret_cast<baton_rail*>(rail);
  return BATON_RC_OK;
}

void rail_close(baton_rail* rail) {
  const baton_host* host = rail_of(rail)->host();
  baton_sdk::destroy(host, rail_of(rail));
}

void capabilities(const baton_rail*, baton_capabilities* out) {
  out->flags = BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR | BATON_CAP_NEEDS_STREAM |
               BATON_CAP_SOFTWARE_PLACEMENT | BATON_CAP_READ;
  out->immediate_bits = 32;
  out->max_message_bytes = kMaxMessageBytes;
  out->inline_bytes = 0;
  out->max_sources = kMaxSources;
  out->max_posts = kMaxPosts;
  out->receive_depth = 0;
  out->fence_unit = BATON_FENCE_GRANT;
}

// The stream carries region keys and offsets; nothing is registered with anybody.
baton_rc region_register(baton_rail* rail, void*, uint64_t, uint64_t tag, baton_region** out,
                         baton_region_key* key, char*) {
  *out = reinterpret_cast<baton_region*>(rail);
  key->key = tag;
  key->base = 0;
  return BATON_RC_OK;
}

void region_unregister(baton_rail*, baton_region*) {}

baton_rc path_open(baton_rail* rail, const baton_path_options* options, baton_path** out,
                   char* error) {
  Path* path = nullptr;
  const baton_rc rc = rail_of(rail)->path_open(*options, &path, error);
  if (rc == BATON_RC_OK) *out = reinterpret_cast<baton_path*>(path);
  return rc;
}

baton_rc path_address(baton_path*, uint8_t*, uint32_t* length_bytes) {
  *length_bytes = 0;
  return BATON_RC_OK;
}

baton_rc path_connect(baton_path*, const uint8_t*, uint32_t length_bytes, char* error) {
  if (length_bytes == 0) return BATON_RC_OK;
  baton_sdk::format_text(error, "tcp: a path address of %u bytes, expected none", length_bytes);
  return BATON_RC_INVALID;
}

void path_close(baton_path* path) { path_of(path)->rail()->path_close(path_of(path)); }

baton_rc post(baton_path* path, const baton_post* posts, uint32_t count, uint32_t* accepted) {
  return path_of(path)->post(posts, count, accepted);
}

baton_rc flush(baton_path* path, uint64_t, uint64_t op) { return path_of(path)->flush(op); }

void fence(baton_path* path) { path_of(path)->fence(); }

uint32_t progress(baton_rail* rail, uint64_t budget_bytes) {
  return rail_of(rail)->progress(budget_bytes);
}

int wait_fd(baton_rail* rail) { return rail_of(rail)->epoll_fd(); }

uint32_t arm(baton_rail* rail) { return rail_of(rail)->arm(); }

constexpr baton_plugin kPlugin = {
    .struct_size = sizeof(baton_plugin),
    .abi = BATON_PLUGIN_ABI,
    .name = "tcp",
    .summary = "host memory over stream sockets, between processes and hosts",
    .probe = probe,
    .rail_open = rail_open,
    .rail_close = rail_close,
    .capabilities = capabilities,
    .region_register = region_register,
    .region_unregister = region_unregister,
    .path_open = path_open,
    .path_address = path_address,
    .path_connect = path_connect,
    .path_close = path_close,
    .post = post,
    .flush = flush,
    .fence = fence,
    .progress = progress,
    .wait_fd = wait_fd,
    .arm = arm,
};

}  // namespace
}  // namespace baton_tcp

extern "C" const baton_plugin* baton_plugin_tcp(void) { return &baton_tcp::kPlugin; }
