#include "examples/reference_engine/model_config.h"

namespace baton_engine {

using baton::Status;
using baton::StatusCode;

uint64_t ModelConfig::weight_floats(bool tied_output) const {
  const uint64_t attention = uint64_t{hidden} * (query_width() * 2 + kv_width() * 2);
  const uint64_t per_layer = attention + uint64_t{3} * hidden * feed_forward + uint64_t{2} * hidden;
  const uint64_t embedding = uint64_t{vocabulary} * hidden;
  return per_layer * layers + embedding * (tied_output ? 1 : 2) + hidden;
}

Status ModelConfig::validate() const {
  // Far above every model that a CPU engine can run, and low enough that no product overflows.
  constexpr uint32_t kMaxWidth = 1 << 16;
  constexpr uint32_t kMaxLong = 1 << 22;
  const struct {
    const char* name;
    uint32_t value;
    uint32_t max;
  } fields[] = {{"layers", layers, 1024},
                {"hidden size", hidden, kMaxWidth},
                {"feed-forward size", feed_forward, kMaxLong},
                {"heads", heads, 1024},
                {"KV heads", kv_heads, 1024},
                {"head size", head_dim, 1024},
                {"vocabulary size", vocabulary, kMaxLong},
                {"context length", context_tokens, kMaxLong}};
  for (const auto& field : fields) {
    if (field.value == 0 || field.value > field.max) {
      return Status(StatusCode::kInvalidArgument,
                    name + ": " + field.name + " is " + std::to_string(field.value) +
                        "; expected 1 to " + std::to_string(field.max));
    }
  }
  if (heads % kv_heads != 0) {
    return Status(StatusCode::kInvalidArgument, name + ": " + std::to_string(heads) +
                                                    " heads are no multiple of " +
                                                    std::to_string(kv_heads) + " KV heads");
  }
  if (head_dim % 2 != 0) {
    return Status(StatusCode::kInvalidArgument, name + ": head size " + std::to_string(head_dim) +
                                                    " is odd; rotary positions turn pairs");
  }
  // The table of rotary angles holds a float for each: at most 1 GiB.
  constexpr uint64_t kMaxAngles = 1 << 28;
  if (uint64_t{context_tokens} * head_dim > kMaxAngles) {
    return Status(StatusCode::kInvalidArgument,
                  name + ": context length " + std::to_string(context_tokens) + " and head size " +
                      std::to_string(head_dim) + "; expected a product of at most " +
                      std::to_string(kMaxAngles));
  }
  if (!(rope_base > 1.0F) || !(norm_epsilon > 0.0F)) {
    return Status(StatusCode::kInvalidArgument,
                  name + ": rope base " + std::to_string(rope_base) + " or RMSNorm epsilon " +
                      std::to_string(norm_epsilon) + " is out of range");
  }
  return Status::ok();
}

}  // namespace baton_engine
