/* The plug-ins that are linked into libbaton. Each function returns the same table that the
 * plug-in's own library returns from baton_plugin_entry. Not installed: for Baton's own build, the
 * library does not export them. */
#ifndef BATON_PLUGIN_BUILTIN_H_
#define BATON_PLUGIN_BUILTIN_H_

#include "baton/plugin/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

const baton_plugin* baton_plugin_loopback(void);
const baton_plugin* baton_plugin_tcp(void);

#ifdef __cplusplus
}
#endif

#endif /* BATON_PLUGIN_BUILTIN_H_ */
