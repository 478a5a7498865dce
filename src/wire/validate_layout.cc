#include "src/wire/validate_layout.h"

namespace baton::wire {

namespace {

struct Bounded {
  const char* field;
  uint64_t value;
  uint64_t first;
  uint64_t last;
};

Status check_group(const LayerGroup& group, const std::string& where) {
  const Bounded fields[] = {
      {"kind", static_cast<uint64_t>(group.kind), 0,
       static_cast<uint64_t>(GroupKind::kLinearState)},
      {"dtype", static_cast<uint64_t>(group.dtype), 0, static_cast<uint64_t>(DType::kF8E5M2)},
      {"order", static_cast<uint64_t>(group.order), 0, static_cast<uint64_t>(TokenOrder::kHND)},
      {"block_tokens", group.block_tokens, 1, kMaxBlockTokens},
      {"heads_total", group.heads_total, 1, kMaxHeads},
      {"head_first", group.head_first, 0, kMaxHeads},
      {"heads", group.heads, 1, kMaxHeads},
      {"head_elements", group.head_elements, 1, kMaxHeadElements},
      {"tensors_per_layer", group.tensors_per_layer, 1, kMaxTensorsPerLayer},
      {"count of layers", group.layers.size(), 1, kMaxLayoutLayers},
  };
  for (const Bounded& one : fields) {
    if (one.value >= one.first && one.value <= one.last) continue;
    return Status(StatusCode::kOutOfRange,
                  where + "." + one.field + " is " + std::to_string(one.value) + ", not in [" +
                      std::to_string(one.first) + ", " + std::to_string(one.last) + "]");
  }
  const size_t wanted = group.layers.size() * group.tensors_per_layer;
  if (group.places.size() == wanted) return Status::ok();
  return Status(StatusCode::kInvalidArgument,
                where + " has " + std::to_string(group.places.size()) + " places for " +
                    std::to_string(group.layers.size()) + " layers of " +
                    std::to_string(group.tensors_per_layer) + " tensors");
}

}  // namespace

Status validate_layout(const Layout& layout, const std::string& where) {
  if (layout.groups.empty() || layout.groups.size() > kMaxLayoutGroups) {
    return Status(StatusCode::kOutOfRange, where + " has " + std::to_string(layout.groups.size()) +
                                               " groups, not 1 to " +
                                               std::to_string(kMaxLayoutGroups));
  }
  size_t layers = 0;
  size_t tensors = 0;
  for (size_t i = 0; i < layout.groups.size(); ++i) {
    BATON_RETURN_IF_ERROR(
        check_group(layout.groups[i], where + ".groups[" + std::to_string(i) + "]"));
    layers += layout.groups[i].layers.size();
    tensors += layout.groups[i].places.size();
  }
  if (layers <= kMaxLayoutLayers && tensors <= kMaxLayoutTensors) return Status::ok();
  return Status(StatusCode::kOutOfRange, where + " has " + std::to_string(layers) + " layers and " +
                                             std::to_string(tensors) + " tensors, at most " +
                                             std::to_string(kMaxLayoutLayers) + " and " +
                                             std::to_string(kMaxLayoutTensors) + " are allowed");
}

}  // namespace baton::wire
