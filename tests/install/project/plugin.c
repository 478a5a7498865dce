/* The least that a plug-in is to the loader: the entry symbol. That it compiles as C11 is the test.
 */
#include <baton/plugin/plugin.h>

const baton_plugin* baton_plugin_entry(void);

const baton_plugin* baton_plugin_entry(void) { return (const baton_plugin*)0; }
