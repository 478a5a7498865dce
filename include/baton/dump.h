// What a Context is doing at this moment: every hand-off with what it waits for, since when, and
// how far it is; every peer and Path. For people and for tools, not for programs to decide by: the
// text changes freely, of the JSON what docs/operations.md names stays.
#pragma once

#include <cstdint>

namespace baton {

enum class DumpFormat : uint8_t { kText, kJson };

}  // namespace baton
