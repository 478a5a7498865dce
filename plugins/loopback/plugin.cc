// The table of the loopback plug-in: plain C in, classes behind.
#include "baton/plugin/plugin.h"

#include "baton/plugin/builtin.h"
#include "baton/plugin/sdk.h"
#include "plugins/loopback/kinds.h"

namespace baton_loopback {
namespace {

AnyRail* rail_of(baton_rail* rail) { return reinterpret_cast<AnyRail*>(rail); }
AnyPath* path_of(baton_path* path) { return reinterpret_cast<AnyPath*>(path); }

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
  AnyRail* rail = nullptr;
  const baton_rc rc =
      static_cast<AnyFabric*>(options->in_process)->rail_open(host, *options, &rail, error);
  if (rc == BATON_RC_OK) *out = reinterpret_cast<baton_rail*>(rail);
  return rc;
}

void rail_close(baton_rail* rail) { rail_of(rail)->close(); }

void capabilities(const baton_rail* rail, baton_capabilities* out) {
  reinterpret_cast<const AnyRail*>(rail)->capabilities(out);
}

baton_rc region_register(baton_rail* rail, void* address, uint64_t length_bytes, uint64_t tag,
                         baton_region** out, baton_region_key* key, char*) {
  return rail_of(rail)->region_register(address, length_bytes, tag, out, key);
}

void region_unregister(baton_rail* rail, baton_region* region) {
  rail_of(rail)->region_unregister(region);
}

baton_rc path_open(baton_rail* rail, const baton_path_options* options, baton_path** out,
                   char* error) {
  AnyPath* path = nullptr;
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

void path_close(baton_path* path) { path_of(path)->close(); }

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
