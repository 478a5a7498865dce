#include <string_view>

#include "baton/section.h"

namespace baton {

std::string_view memory_kind_name(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::kDram:
      return "DRAM";
    case MemoryKind::kHbm:
      return "HBM";
    case MemoryKind::kNvme:
      return "NVMe";
    case MemoryKind::kObject:
      return "object";
  }
  return "unknown";
}

}  // namespace baton
