// A plug-in library: tcp under another name, which counts what it is asked for.
#include "tests/integration/plugin_module.h"

#include "baton/plugin/builtin.h"
#include "baton/plugin/plugin.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED baton_test::ModuleHooks baton_test_module_hooks;
baton_test::ModuleHooks baton_test_module_hooks;

namespace {

baton_test::ModuleHooks& hooks() { return baton_test_module_hooks; }

baton_rc rail_open(const baton_host* host, const baton_rail_options* options, baton_rail** out,
                   char* error) {
  const baton_rc rc = baton_plugin_tcp()->rail_open(host, options, out, error);
  if (rc == BATON_RC_OK) ++hooks().rails;
  return rc;
}

void rail_close(baton_rail* rail) {
  if (hooks().regions.load() != 0) ++hooks().rails_closed_early;
  --hooks().rails;
  baton_plugin_tcp()->rail_close(rail);
}

baton_rc region_register(baton_rail* rail, void* address, uint64_t length_bytes, uint64_t tag,
                         baton_region** out, baton_region_key* key, char* error) {
  if (void (*before)() = hooks().before_register.load()) before();
  const baton_rc rc =
      baton_plugin_tcp()->region_register(rail, address, length_bytes, tag, out, key, error);
  if (rc == BATON_RC_OK) ++hooks().regions;
  return rc;
}

void region_unregister(baton_rail* rail, baton_region* region) {
  --hooks().regions;
  baton_plugin_tcp()->region_unregister(rail, region);
}

}  // namespace

EXPORTED const baton_plugin* baton_plugin_entry(void);
const baton_plugin* baton_plugin_entry(void) {
  static const baton_plugin table = [] {
    baton_plugin out = *baton_plugin_tcp();
    out.name = baton_test::kModuleName;
    out.rail_open = rail_open;
    out.rail_close = rail_close;
    out.region_register = region_register;
    out.region_unregister = region_unregister;
    return out;
  }();
  return &table;
}
