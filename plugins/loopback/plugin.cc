// The table of the loopback plug-in: plain C in, classes behind.
#include "baton/plugin/plugin.h"

#include "baton/plugin/builtin.h"
#include "baton/plugin/sdk.h"
#include "plugins/loopback/fabric.h"
#include "plugins/loopback/message.h"
#include "plugins/loopback/path.h"
#include "plugins/loopback/rail.h"

namespace baton_loopback {
namespace {

Rail* rail_of(baton_rail* rail) { return reinterpret_cast<Rail*>(rail); }
Path* path_of(baton_path* path) { return reinterpret_cast<Path*>(path); }

baton_rc probe(const baton_rail_options* options, baton_probe* out) {
  out->reason[0] = out->remedy[0] = '\0';
  out->usable = options != nullptr && options->in_process != nullptr ? 1 : 0;
  if (out->usable == 1) return BATON_RC_OK;
  baton_sdk::format_text(out->reason,
                         "loopback connects rails of one process, and no fabric was given");
  baton_sdk::format_text(out->remedy,
                         "make one with baton_loopback_fabric_create() and hand it over "
                         "as in_process; it is meant for tests");
  return BATON_RC_UNAVAILABLE;
}

baton_rc rail_open(const baton_host* host, const baton_rail_options* options, baton_rail** out,
                   char* error) {
  if (options == nullptr || options->in_process == nullptr) {
    baton_sdk::format_text(error, "loopback: rail_open needs a fabric in in_process");
    return BATON_RC_INVALID;
  }
  baton_sdk::Settings settings(options->settings);
  if (std::string_view key, value; settings.next(&key, &value)) {
    baton_sdk::format_text(error, "loopback: unknown setting \"%.*s\"; it has none",
                           static_cast<int>(key.size()), key.data());
    return BATON_RC_INVALID;
  }
  Rail* rail = baton_sdk::create<Rail>(host, host, static_cast<Fabric*>(options->in_process));
  if (rail == nullptr) {
    baton_sdk::format_text(error, "loopback: the host has no memory for a rail");
    return BATON_RC_NO_RESOURCE;
  }
  const baton_rc rc = rail->open(error);
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

void capabilities(const baton_rail* rail, baton_capabilities* out) {
  const baton_loopback_plan& plan = reinterpret_cast<const Rail*>(rail)->fabric()->plan();
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

baton_rc path_address(baton_path* path, uint8_t* out, uint32_t* length_bytes) {
  path_of(path)->address(out, length_bytes);
  return BATON_RC_OK;
}

baton_rc path_connect(baton_path* path, const uint8_t* peer_address, uint32_t length_bytes,
                      char* error) {
  return path_of(path)->connect(peer_address, length_bytes, error);
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

int wait_fd(baton_rail* rail) { return rail_of(rail)->wait_fd(); }

uint32_t arm(baton_rail* rail) { return rail_of(rail)->arm(); }

constexpr baton_plugin kPlugin = {
    .struct_size = sizeof(baton_plugin),
    .abi = BATON_PLUGIN_ABI,
    .name = "loopback",
    .summary = "rails of one process, deterministic from a seed, with a fault plan",
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
}  // namespace baton_loopback

extern "C" const baton_plugin* baton_plugin_loopback(void) { return &baton_loopback::kPlugin; }
