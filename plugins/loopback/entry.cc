// The symbol of the plug-in's own library; not part of the linked-in form, where several plug-ins
// share one image.
#include "baton/plugin/builtin.h"

extern "C" __attribute__((visibility("default"))) const baton_plugin* baton_plugin_entry(void);

extern "C" const baton_plugin* baton_plugin_entry(void) { return baton_plugin_loopback(); }
