// load_gguf_model: checks the metadata and every tensor's shape, then de-quantises.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "examples/reference_engine/dequantize.h"
#include "examples/reference_engine/load_model.h"
#include "examples/reference_engine/load_tokenizer.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint32_t kRowsPerTile = 256;

// One tensor of the file and where it goes.
struct LoadStep {
  const GgufTensor* tensor = nullptr;
  float* out = nullptr;
};

Status read_u32(const GgufFile& file, std::string_view key, uint32_t& out) {
  const auto value = file.get_unsigned(key);
  if (!value.is_ok()) return value.status();
  if (*value > std::numeric_limits<uint32_t>::max()) {
    return Status(StatusCode::kInvalidArgument, file.file_name() + ": metadata key '" +
                                                    std::string(key) + "' is " +
                                                    std::to_string(*value) + ", too large");
  }
  out = static_cast<uint32_t>(*value);
  return Status::ok();
}

Status check_architecture(const GgufFile& file) {
  const auto architecture = file.get_string("general.architecture");
  if (!architecture.is_ok()) return architecture.status();
  if (*architecture != "llama") {
    return Status(StatusCode::kInvalidArgument, file.file_name() + ": general.architecture is '" +
                                                    std::string(*architecture) +
                                                    "'; this engine runs 'llama'");
  }
  // Variants of llama that change the arithmetic: refused rather than run wrongly.
  if (file.has("llama.rope.scaling.type")) {
    const auto scaling = file.get_string("llama.rope.scaling.type");
    if (!scaling.is_ok()) return scaling.status();
    if (*scaling != "none") {
      return Status(StatusCode::kInvalidArgument, file.file_name() + ": rope scaling '" +
                                                      std::string(*scaling) +
                                                      "' is not one that this engine runs");
    }
  }
  for (const std::string_view key : {"llama.expert_count", "llama.attention.sliding_window"}) {
    if (!file.has(key)) continue;
    const auto count = file.get_unsigned(key);
    if (!count.is_ok()) return count.status();
    if (*count != 0) {
      return Status(StatusCode::kInvalidArgument, file.file_name() + ": '" + std::string(key) +
                                                      "' is set; this engine runs dense llama "
                                                      "models with full attention");
    }
  }
  for (const std::string_view name : {"rope_freqs.weight", "blk.0.attn_q.bias"}) {
    if (file.tensors().contains(name)) {
      return Status(StatusCode::kInvalidArgument, file.file_name() + ": tensor '" +
                                                      std::string(name) +
                                                      "' is not one that this engine runs");
    }
  }
  return Status::ok();
}

Result<ModelConfig> read_config(const GgufFile& file) {
  BATON_RETURN_IF_ERROR(check_architecture(file));
  ModelConfig config;
  config.name = file.file_name();
  BATON_RETURN_IF_ERROR(read_u32(file, "llama.block_count", config.layers));
  BATON_RETURN_IF_ERROR(read_u32(file, "llama.embedding_length", config.hidden));
  BATON_RETURN_IF_ERROR(read_u32(file, "llama.feed_forward_length", config.feed_forward));
  BATON_RETURN_IF_ERROR(read_u32(file, "llama.attention.head_count", config.heads));
  BATON_RETURN_IF_ERROR(read_u32(file, "llama.context_length", config.context_tokens));
  config.kv_heads = config.heads;
  if (file.has("llama.attention.head_count_kv")) {
    BATON_RETURN_IF_ERROR(read_u32(file, "llama.attention.head_count_kv", config.kv_heads));
  }
  config.head_dim = config.heads == 0 ? 0 : config.hidden / config.heads;
  if (file.has("llama.attention.key_length")) {
    BATON_RETURN_IF_ERROR(read_u32(file, "llama.attention.key_length", config.head_dim));
  }
  if (file.has("llama.rope.dimension_count")) {
    uint32_t turned = 0;
    BATON_RETURN_IF_ERROR(read_u32(file, "llama.rope.dimension_count", turned));
    if (turned != config.head_dim) {
      return Status(StatusCode::kInvalidArgument,
                    file.file_name() + ": rope turns " + std::to_string(turned) + " of " +
                        std::to_string(config.head_dim) + " dimensions; expected all");
    }
  }
  if (file.has("llama.rope.freq_base")) {
    const auto base = file.get_float("llama.rope.freq_base");
    if (!base.is_ok()) return base.status();
    config.rope_base = static_cast<float>(*base);
  }
  const auto epsilon = file.get_float("llama.attention.layer_norm_rms_epsilon");
  if (!epsilon.is_ok()) return epsilon.status();
  config.norm_epsilon = static_cast<float>(*epsilon);
  const auto embedding = file.get_tensor("token_embd.weight");
  if (!embedding.is_ok()) return embedding.status();
  config.vocabulary = static_cast<uint32_t>(std::min<uint64_t>((*embedding)->rows(), UINT32_MAX));
  BATON_RETURN_IF_ERROR(config.validate());
  return config;
}

// Lists the tensors that the model needs, each with its place, and checks their shapes.
class StepList {
 public:
  explicit StepList(const GgufFile& file) : file_(file) {}

  Status add(const std::string& name, uint64_t columns, std::span<float> out) {
    const auto tensor = file_.get_tensor(name);
    if (!tensor.is_ok()) return tensor.status();
    const uint64_t rows = out.size() / columns;
    if ((*tensor)->columns() != columns || (*tensor)->rows() != rows) {
      return Status(StatusCode::kInvalidArgument, file_.file_name() + ": tensor '" + name +
                                                      "' is " + std::to_string((*tensor)->rows()) +
                                                      " x " + std::to_string((*tensor)->columns()) +
                                                      "; expected " + std::to_string(rows) + " x " +
                                                      std::to_string(columns));
    }
    steps_.push_back({*tensor, out.data()});
    return Status::ok();
  }

  const std::vector<LoadStep>& steps() const { return steps_; }

 private:
  const GgufFile& file_;
  std::vector<LoadStep> steps_;
};

Status list_steps(Model& model, StepList& list) {
  const ModelConfig& config = model.config();
  const Model::Layout& layout = model.layout();
  BATON_RETURN_IF_ERROR(list.add("token_embd.weight", config.hidden, layout.embedding));
  for (uint32_t i = 0; i < config.layers; ++i) {
    const Model::Layout::Layer& layer = layout.layers[i];
    const std::string prefix = "blk." + std::to_string(i) + ".";
    const struct {
      const char* name;
      uint64_t columns;
      std::span<float> out;
    } parts[] = {{"attn_norm", config.hidden, layer.attention_norm},
                 {"attn_q", config.hidden, layer.query},
                 {"attn_k", config.hidden, layer.key},
                 {"attn_v", config.hidden, layer.value},
                 {"attn_output", config.query_width(), layer.attention_output},
                 {"ffn_norm", config.hidden, layer.feed_forward_norm},
                 {"ffn_gate", config.hidden, layer.gate},
                 {"ffn_up", config.hidden, layer.up},
                 {"ffn_down", config.feed_forward, layer.down}};
    for (const auto& part : parts) {
      BATON_RETURN_IF_ERROR(list.add(prefix + part.name + ".weight", part.columns, part.out));
    }
  }
  BATON_RETURN_IF_ERROR(list.add("output_norm.weight", config.hidden, layout.output_norm));
  if (!layout.output.empty()) {
    BATON_RETURN_IF_ERROR(list.add("output.weight", config.hidden, layout.output));
  }
  return Status::ok();
}

void run_step(const LoadStep& step, ComputePool& pool) {
  const uint64_t rows = step.tensor->rows();
  const uint64_t columns = step.tensor->columns();
  const auto tiles = static_cast<uint32_t>((rows + kRowsPerTile - 1) / kRowsPerTile);
  pool.parallel_for(tiles, [&](uint32_t tile) {
    const uint64_t first = uint64_t{tile} * kRowsPerTile;
    const uint64_t last = std::min(rows, first + kRowsPerTile);
    for (uint64_t row = first; row < last; ++row) {
      dequantize_row(*step.tensor, row, {step.out + row * columns, columns});
    }
  });
}

}  // namespace

Result<std::unique_ptr<Model>> load_gguf_model(const GgufFile& file, ComputePool& pool,
                                               const LoadProgress& progress) {
  auto config = read_config(file);
  if (!config.is_ok()) return config.status();
  auto tokenizer = load_tokenizer(file);
  if (!tokenizer.is_ok()) return tokenizer.status();
  const bool tied_output = !file.tensors().contains("output.weight");
  const uint64_t total_bytes = config->weight_floats(tied_output) * sizeof(float);
  auto model = Model::create(std::move(*config), tied_output, std::move(*tokenizer));
  if (!model.is_ok()) return model.status();
  StepList list(file);
  BATON_RETURN_IF_ERROR(list_steps(**model, list));
  uint64_t done_bytes = 0;
  for (const LoadStep& step : list.steps()) {
    run_step(step, pool);
    done_bytes += step.tensor->rows() * step.tensor->columns() * sizeof(float);
    if (progress) progress(done_bytes, total_bytes);
  }
  return model;
}

}  // namespace baton_engine
