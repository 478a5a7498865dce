// Any bytes from the peer leave a tcp path alive or broken, and never touch memory outside its one
// region. The first byte says in pieces of which size the rest arrives; the path has a read and a
// flush out, so that answers are reached too.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "baton/plugin/builtin.h"

namespace {

constexpr uint64_t kKey = 1;
constexpr uint64_t kGrant = 1;

struct Host {
  baton_host table{};
  std::array<uint8_t, 4096> region{};
  bool broken = false;
};

Host* self(void* context) { return static_cast<Host*>(context); }

void fill_table(Host* host) {
  host->table.struct_size = sizeof host->table;
  host->table.context = host;
  host->table.now_ns = [](void*) -> int64_t { return 0; };
  host->table.random = [](void*) -> uint64_t { return 4; };
  host->table.log = [](void*, baton_log_level, const char*) {};
  host->table.allocate = [](void*, size_t bytes, size_t alignment) {
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  };
  host->table.release = [](void*, void* memory, size_t) { std::free(memory); };
  host->table.op_done = [](void*, uint64_t, uint64_t, baton_op_status) {};
  host->table.units_arrived = [](void*, uint64_t, uint32_t) {};
  host->table.path_broken = [](void* context, uint64_t, const char*) {
    if (self(context)->broken) std::abort();
    self(context)->broken = true;
  };
  host->table.fenced = [](void*, uint64_t) {};
  host->table.resolve = [](void* context, uint64_t, uint64_t grant, uint64_t key, uint64_t address,
                           uint32_t length, baton_access) {
    auto& region = self(context)->region;
    if (grant == kGrant + 1) return baton_resolved{nullptr, 1};
    if (grant != kGrant || key != kKey || address > region.size() ||
        length > region.size() - address) {
      return baton_resolved{nullptr, 0};
    }
    return baton_resolved{region.data() + address, 0};
  };
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
  Host host;
  fill_table(&host);
  const baton_plugin* plugin = baton_plugin_tcp();
  char error[BATON_ERROR_BYTES];
  baton_rail* rail = nullptr;
  if (plugin->rail_open(&host.table, nullptr, &rail, error) != BATON_RC_OK) std::abort();
  baton_path_options options{};
  options.struct_size = sizeof options;
  options.stream_fd = fds[0];
  baton_path* path = nullptr;
  if (plugin->path_open(rail, &options, &path, error) != BATON_RC_OK) std::abort();
  std::array<uint8_t, 1000> local{};
  const baton_source range{local.data(), nullptr, local.size(), 0};
  baton_post read{};
  read.kind = BATON_POST_READ;
  read.num_sources = 1;
  read.sources = &range;
  read.grant = kGrant;
  read.target_key = kKey;
  read.length_bytes = local.size();
  uint32_t accepted = 0;
  plugin->post(path, &read, 1, &accepted);
  plugin->flush(path, 0, 1);
  const size_t piece = 1 + data[0] * size_t{16};
  std::array<uint8_t, 8192> sink;
  for (size_t at = 1; at < size && !host.broken;) {
    const size_t length = std::min(piece, size - at);
    const ssize_t sent = ::send(fds[1], data + at, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) at += static_cast<size_t>(sent);
    plugin->progress(rail, 3000);
    while (::recv(fds[1], sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
    }
  }
  for (int i = 0; i < 8; ++i) plugin->progress(rail, 3000);
  plugin->fence(path);
  plugin->path_close(path);
  plugin->rail_close(rail);
  ::close(fds[1]);
  return 0;
}
