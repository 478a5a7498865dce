#include "src/kv/plan.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "src/base/assert.h"
#include "src/base/checked_math.h"
#include "src/kv/group_plan.h"
#include "src/kv/request_check.h"

namespace baton::kv {
namespace {

using std::to_string;

Status invalid(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}

Status prefixed(const std::string& who, const Status& status) {
  return status.is_ok() ? status : Status(status.code(), who + status.message());
}

Status check_request(const PlanRequest& request) {
  BATON_ASSERT(request.source != nullptr && request.target != nullptr, "a plan has two layouts");
  BATON_RETURN_IF_ERROR(prefixed("source layout: ", validate(*request.source)));
  BATON_RETURN_IF_ERROR(prefixed("target layout: ", validate(*request.target)));
  BATON_RETURN_IF_ERROR(compatible(*request.source, *request.target));
  if (request.tokens.begin > request.tokens.end) {
    return invalid("token range " + range_text(request.tokens) + " is reversed");
  }
  if (request.tokens.is_empty()) {
    return invalid("token range " + range_text(request.tokens) + " is empty");
  }
  if (request.unit_bytes < kMinUnitBytes || request.unit_bytes > kMaxUnitBytes) {
    return invalid("unit_bytes is " + to_string(request.unit_bytes) + ", must be in [" +
                   to_string(kMinUnitBytes) + ", " + to_string(kMaxUnitBytes) + "]");
  }
  const size_t num_groups = request.target->groups.size();
  if (request.source_blocks && request.source_blocks->size() != num_groups) {
    return invalid("source has " + to_string(request.source_blocks->size()) + " block lists for " +
                   to_string(num_groups) + " layer groups");
  }
  if (request.target_blocks.size() != num_groups) {
    return invalid("target has " + to_string(request.target_blocks.size()) + " block lists for " +
                   to_string(num_groups) + " layer groups");
  }
  const auto is_empty = [](const HeadRange& heads) { return heads.is_empty(); };
  if (request.heads.empty()) return Status::ok();
  if (request.heads.size() != num_groups) {
    return invalid("heads are named for " + to_string(request.heads.size()) + " of " +
                   to_string(num_groups) + " layer groups");
  }
  if (std::all_of(request.heads.begin(), request.heads.end(), is_empty))
    return invalid("the request names no head of any layer group");
  return Status::ok();
}

Result<GroupPlan> make_group(const PlanRequest& request, size_t index) {
  const LayerGroup& source = request.source->groups[index];
  const LayerGroup& target = request.target->groups[index];
  const HeadRange heads =
      request.heads.empty() ? shared_heads(source, target) : request.heads[index];
  BATON_RETURN_IF_ERROR(request.heads.empty() ? check_share_heads(index, source, target)
                                              : check_sent_heads(index, source, target, heads));
  if (request.source_blocks) {
    BATON_RETURN_IF_ERROR(
        check_block_list("source", index, source, request.tokens, (*request.source_blocks)[index]));
  }
  const std::vector<uint32_t>& target_blocks = request.target_blocks[index];
  BATON_RETURN_IF_ERROR(check_block_list("target", index, target, request.tokens, target_blocks));
  BATON_RETURN_IF_ERROR(check_distinct_blocks(index, target_blocks));

  GroupPlan group;
  if (!heads.is_empty()) {
    group.geometry = make_geometry(source, target, heads, request.unit_bytes);
    group.tokens = tokens_of_group(target, request.tokens);
  }
  const uint64_t rows = uint64_t{group.tokens.end - group.tokens.begin} * group.geometry.sent_heads;
  if (rows > kMaxPlanRows) {
    return Status(StatusCode::kOutOfRange,
                  "group " + to_string(index) + ": tokens " + range_text(group.tokens) + " of " +
                      to_string(group.geometry.sent_heads) + " heads are " + to_string(rows) +
                      " rows, the limit is " + to_string(kMaxPlanRows));
  }
  group.index = static_cast<uint32_t>(index);
  group.tensors_per_layer = target.tensors_per_layer;
  group.knows_source = request.source_blocks.has_value();
  if (heads.is_empty()) return group;  // no tokens: neither units nor blocks
  group.source_first_block = group.tokens.begin / source.block_tokens;
  group.target_first_block = group.tokens.begin / target.block_tokens;
  if (group.knows_source) group.source_blocks = (*request.source_blocks)[index];
  group.target_blocks = target_blocks;
  group.source_places = source.places;
  group.target_places = target.places;
  group.units_per_tensor = count_units(group, group.tokens);
  group.bytes_per_tensor = rows * group.geometry.row_bytes;
  const uint64_t layer_units = group.units_per_tensor * group.tensors_per_layer;
  if (layer_units > std::numeric_limits<uint32_t>::max()) {
    return Status(StatusCode::kOutOfRange, "group " + to_string(index) + ": a layer has " +
                                               to_string(layer_units) +
                                               " units, the limit is 2^32 - 1");
  }
  return group;
}

}  // namespace

Plan::Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;
Plan::~Plan() = default;

Result<Plan> Plan::create(const PlanRequest& request) {
  BATON_RETURN_IF_ERROR(check_request(request));
  Plan plan;
  plan.tokens_ = request.tokens;
  plan.knows_source_ = request.source_blocks.has_value();
  const size_t num_groups = request.target->groups.size();
  plan.groups_.reserve(num_groups);
  plan.layers_.reserve(baton::num_layers(*request.target));
  for (size_t g = 0; g < num_groups; ++g) {
    auto group = make_group(request, g);
    if (!group.is_ok()) return group.status();
    const std::vector<uint32_t>& layers = request.target->groups[g].layers;
    for (size_t i = 0; i < layers.size(); ++i) {
      LayerPlan layer;
      layer.group = static_cast<uint32_t>(g);
      layer.ordinal = static_cast<uint32_t>(plan.layers_.size());
      layer.number = layers[i];
      layer.first_place = static_cast<uint32_t>(i) * group->tensors_per_layer;
      plan.layers_.push_back(layer);
    }
    // Units: at most 2^12 layers of 2^32. Bytes: tensors that a careless layout puts at one place
    // may sum up past 2^64, though none of them does.
    const uint64_t tensors = layers.size() * uint64_t{group->tensors_per_layer};
    plan.total_units_ += group->units_per_tensor * tensors;
    const auto bytes = base::checked_mul(group->bytes_per_tensor, tensors);
    const auto total = bytes ? base::checked_add(plan.total_bytes_, *bytes) : std::nullopt;
    if (!total) {
      return Status(StatusCode::kOutOfRange,
                    "group " + to_string(g) + ": the bytes of the plan exceed 2^64");
    }
    plan.total_bytes_ = *total;
    plan.groups_.push_back(std::move(group).value());
  }
  return plan;
}

uint32_t Plan::num_layers() const { return static_cast<uint32_t>(layers_.size()); }

const LayerPlan& Plan::layer(uint32_t ordinal) const {
  BATON_ASSERT(ordinal < layers_.size(), "the layer is one of the plan's");
  return layers_[ordinal];
}

uint64_t Plan::units_of_layer(uint32_t layer_ordinal) const {
  const GroupPlan& group = groups_[layer(layer_ordinal).group];
  return group.units_per_tensor * group.tensors_per_layer;
}

uint64_t Plan::bytes_of_layer(uint32_t layer_ordinal) const {
  const GroupPlan& group = groups_[layer(layer_ordinal).group];
  return group.bytes_per_tensor * group.tensors_per_layer;
}

uint32_t Plan::layer_number(uint32_t layer_ordinal) const { return layer(layer_ordinal).number; }

UnitCursor Plan::cursor(uint32_t layer_ordinal, TokenRange chunk) const {
  const LayerPlan& planned = layer(layer_ordinal);
  const GroupPlan& group = groups_[planned.group];
  return UnitCursor(group, planned, clip(group, chunk));
}

uint64_t Plan::units_in(uint32_t layer_ordinal, TokenRange chunk) const {
  const GroupPlan& group = groups_[layer(layer_ordinal).group];
  return count_units(group, clip(group, chunk)) * group.tensors_per_layer;
}

}  // namespace baton::kv
