/* A plug-in library that does nothing, right or wrong in one way: TEST_PLUGIN_* says which. */
#include <stdlib.h>

#include "baton/plugin/plugin.h"

#if defined(TEST_PLUGIN_NO_ENTRY)

int baton_test_plugin_has_no_entry(void);
int baton_test_plugin_has_no_entry(void) { return 1; }

#else

static baton_rc probe(const baton_rail_options* options, baton_probe* out) {
  (void)options;
  out->usable = 0;
  return BATON_RC_OK;
}
static baton_rc rail_open(const baton_host* host, const baton_rail_options* options,
                          baton_rail** out, char error[BATON_ERROR_BYTES]) {
  (void)host, (void)options, (void)out;
  error[0] = '\0';
  return BATON_RC_UNAVAILABLE;
}
/* No rail is ever opened, so nothing below is called. */
static void rail_close(baton_rail* rail) { (void)rail, abort(); }
static void capabilities(const baton_rail* rail, baton_capabilities* out) {
  (void)rail, (void)out, abort();
}
static baton_rc region_register(baton_rail* rail, void* address, uint64_t length_bytes,
                                uint64_t tag, baton_region** out, baton_region_key* key,
                                char error[BATON_ERROR_BYTES]) {
  (void)rail, (void)address, (void)length_bytes, (void)tag, (void)out, (void)key, (void)error;
  abort();
}
#if !defined(TEST_PLUGIN_NO_FUNCTION)
static void region_unregister(baton_rail* rail, baton_region* region) {
  (void)rail, (void)region, abort();
}
#endif
static baton_rc path_open(baton_rail* rail, const baton_path_options* options, baton_path** out,
                          char error[BATON_ERROR_BYTES]) {
  (void)rail, (void)options, (void)out, (void)error, abort();
}
static baton_rc path_address(baton_path* path, uint8_t out[BATON_MAX_ADDRESS_BYTES],
                             uint32_t* length_bytes) {
  (void)path, (void)out, (void)length_bytes, abort();
}
static baton_rc path_connect(baton_path* path, const uint8_t* peer_address, uint32_t length_bytes,
                             char error[BATON_ERROR_BYTES]) {
  (void)path, (void)peer_address, (void)length_bytes, (void)error, abort();
}
static void path_close(baton_path* path) { (void)path, abort(); }
static baton_rc post(baton_path* path, const baton_post* posts, uint32_t count,
                     uint32_t* accepted) {
  (void)path, (void)posts, (void)count, (void)accepted, abort();
}
static baton_rc flush(baton_path* path, uint64_t target_key, uint64_t op) {
  (void)path, (void)target_key, (void)op, abort();
}
static void fence(baton_path* path) { (void)path, abort(); }
static uint32_t progress(baton_rail* rail, uint64_t budget_bytes) {
  (void)rail, (void)budget_bytes, abort();
}
static int wait_fd(baton_rail* rail) { (void)rail, abort(); }
static uint32_t arm(baton_rail* rail) { (void)rail, abort(); }

static const baton_plugin table = {
#if defined(TEST_PLUGIN_SHORT)
    .struct_size = sizeof(baton_plugin) - 1,
#elif defined(TEST_PLUGIN_TINY)
    .struct_size = 8,
#elif defined(TEST_PLUGIN_LONGER)
    .struct_size = sizeof(baton_plugin) + 64,
#else
    .struct_size = sizeof(baton_plugin),
#endif
#if defined(TEST_PLUGIN_WRONG_ABI)
    .abi = BATON_PLUGIN_ABI + 41,
#else
    .abi = BATON_PLUGIN_ABI,
#endif
#if !defined(TEST_PLUGIN_NO_NAME)
    .name = TEST_PLUGIN_NAME,
#endif
    .summary = "does nothing",
    .probe = probe,
    .rail_open = rail_open,
    .rail_close = rail_close,
    .capabilities = capabilities,
    .region_register = region_register,
#if !defined(TEST_PLUGIN_NO_FUNCTION)
    .region_unregister = region_unregister,
#endif
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

__attribute__((visibility("default"))) const baton_plugin* baton_plugin_entry(void);
const baton_plugin* baton_plugin_entry(void) {
#if defined(TEST_PLUGIN_NULL)
  (void)table;
  return NULL;
#else
  return &table;
#endif
}

#endif
