// A plug-in library of its own, as ContextOptions::plugin_files loads it: loopback without what a
// plug-in may lack.
#include "baton/plugin/builtin.h"

extern "C" __attribute__((visibility("default"))) const baton_plugin* baton_plugin_entry(void);

extern "C" const baton_plugin* baton_plugin_entry(void) {
  static const baton_plugin table = [] {
    baton_plugin without = *baton_plugin_loopback();
    without.name = "writes-only";
    without.capabilities = [](const baton_rail* rail, baton_capabilities* out) {
      baton_plugin_loopback()->capabilities(rail, out);
      out->flags &= ~BATON_CAP_READ;
    };
    return without;
  }();
  return &table;
}
