// layout_hash() and compatible(): what two caches must share. Both read the same fields.
#include <algorithm>
#include <string>
#include <string_view>

#include "baton/layout.h"
#include "src/base/random.h"

namespace baton {
namespace {

using std::to_string;

struct Field {
  const char* name;
  uint64_t value;
  std::string_view text;  // instead of the number, where there is a name
};

// The order is part of the hash.
std::vector<Field> matched_fields(const LayerGroup& group) {
  return {{"kind", static_cast<uint64_t>(group.kind), group_kind_name(group.kind)},
          {"window_tokens", group.window_tokens, {}},
          {"heads_total", group.heads_total, {}},
          {"head_elements", group.head_elements, {}},
          {"dtype", static_cast<uint64_t>(group.dtype), dtype_name(group.dtype)},
          {"tensors_per_layer", group.tensors_per_layer, {}},
          {"number of layers", group.layers.size(), {}}};
}

std::string value_text(const Field& field) {
  return field.text.empty() ? to_string(field.value) : std::string(field.text);
}

Status mismatch(const std::string& what, const std::string& source, const std::string& target) {
  return Status(StatusCode::kMismatch, what + ": source has " + source + ", target has " + target);
}

Status compatible_groups(size_t index, const LayerGroup& source, const LayerGroup& target) {
  const std::string who = "group " + to_string(index);
  const std::vector<Field> of_source = matched_fields(source);
  const std::vector<Field> of_target = matched_fields(target);
  for (size_t i = 0; i < of_source.size(); ++i) {
    if (of_source[i].value == of_target[i].value) continue;
    return mismatch(who + ": " + of_source[i].name, value_text(of_source[i]),
                    value_text(of_target[i]));
  }
  const auto [a, b] =
      std::mismatch(source.layers.begin(), source.layers.end(), target.layers.begin());
  if (a == source.layers.end()) return Status::ok();
  return mismatch(who + ": layer at position " + to_string(a - source.layers.begin()),
                  to_string(*a), to_string(*b));
}

}  // namespace

uint64_t layout_hash(const Layout& layout) {
  uint64_t state = 0;
  const auto mix = [&state](uint64_t value) {
    state ^= value;
    state = base::splitmix64(state);
  };
  mix(layout.groups.size());
  for (const LayerGroup& group : layout.groups) {
    for (const Field& field : matched_fields(group)) mix(field.value);
    for (const uint32_t layer : group.layers) mix(layer);
  }
  return state;
}

Status compatible(const Layout& source, const Layout& target) {
  if (source.groups.size() != target.groups.size()) {
    return mismatch("number of layer groups", to_string(source.groups.size()),
                    to_string(target.groups.size()));
  }
  for (size_t i = 0; i < source.groups.size(); ++i) {
    BATON_RETURN_IF_ERROR(compatible_groups(i, source.groups[i], target.groups[i]));
  }
  return Status::ok();
}

}  // namespace baton
