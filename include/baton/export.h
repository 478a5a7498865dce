// Symbol visibility of the shared library: everything is hidden unless it carries BATON_EXPORT.
#pragma once

#if defined(BATON_STATIC)
#define BATON_EXPORT
#else
#define BATON_EXPORT __attribute__((visibility("default")))
#endif
