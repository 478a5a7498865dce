// load_gguf_model: checks the metadata and every tensor's shape, then de-quantises.
#include <algorithm>
#include <array>
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

constexpr const char* kEmbedding = "token_embd.weight";
constexpr const char* kOutputNorm = "output_norm.weight";
// Missing when the output layer is the embedding.
constexpr const char* kOutput = "output.weight";

// One tensor of the file and where it goes.
struct LoadStep {
  const GgufTensor* tensor = nullptr;
  const WeightPlace* place = nullptr;
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
  const auto embedding = file.get_tensor(kEmbedding);
  if (!embedding.is_ok()) return embedding.status();
  config.vocabulary = static_cast<uint32_t>(std::min<uint64_t>((*embedding)->rows(), UINT32_MAX));
  BATON_RETURN_IF_ERROR(config.validate());
  return config;
}

// The tensors of one layer: their names after "blk.N.", their shapes and their places.
struct LayerPart {
  const char* name;
  uint64_t rows;
  uint64_t columns;
  WeightPlace Model::Layout::Layer::*place;
};

std::array<LayerPart, 9> layer_parts(const ModelConfig& config) {
  using Layer = Model::Layout::Layer;
  const uint64_t hidden = config.hidden;
  const uint64_t query_width = config.query_width();
  const uint64_t kv_width = config.kv_width();
  const uint64_t feed_forward = config.feed_forward;
  return {{{"attn_norm.weight", 1, hidden, &Layer::attention_norm},
           {"attn_q.weight", query_width, hidden, &Layer::query},
           {"attn_k.weight", kv_width, hidden, &Layer::key},
           {"attn_v.weight", kv_width, hidden, &Layer::value},
           {"attn_output.weight", hidden, query_width, &Layer::attention_output},
           {"ffn_norm.weight", 1, hidden, &Layer::feed_forward_norm},
           {"ffn_gate.weight", feed_forward, hidden, &Layer::gate},
           {"ffn_up.weight", feed_forward, hidden, &Layer::up},
           {"ffn_down.weight", hidden, feed_forward, &Layer::down}}};
}

std::string layer_prefix(uint32_t layer) { return "blk." + std::to_string(layer) + "."; }

Status check_tensor(const GgufFile& file, const std::string& name, uint64_t rows,
                    uint64_t columns) {
  const auto tensor = file.get_tensor(name);
  if (!tensor.is_ok()) return tensor.status();
  if ((*tensor)->rows() == rows && (*tensor)->columns() == columns) return Status::ok();
  return Status(StatusCode::kInvalidArgument, file.file_name() + ": tensor '" + name + "' is " +
                                                  std::to_string((*tensor)->rows()) + " x " +
                                                  std::to_string((*tensor)->columns()) +
                                                  "; expected " + std::to_string(rows) + " x " +
                                                  std::to_string(columns));
}

// That every tensor which the model needs is there in its shape. Before the weights are reserved,
// so that their memory is in proportion to the file's size.
Status check_tensors(const GgufFile& file, const ModelConfig& config, bool tied_output) {
  BATON_RETURN_IF_ERROR(check_tensor(file, kEmbedding, config.vocabulary, config.hidden));
  for (uint32_t i = 0; i < config.layers; ++i) {
    for (const LayerPart& part : layer_parts(config)) {
      BATON_RETURN_IF_ERROR(
          check_tensor(file, layer_prefix(i) + part.name, part.rows, part.columns));
    }
  }
  BATON_RETURN_IF_ERROR(check_tensor(file, kOutputNorm, 1, config.hidden));
  if (tied_output) return Status::ok();
  return check_tensor(file, kOutput, config.vocabulary, config.hidden);
}

// REQUIRES: check_tensors().
std::vector<LoadStep> list_steps(const GgufFile& file, const Model& model) {
  std::vector<LoadStep> steps;
  const auto add = [&](const std::string& name, const WeightPlace& place) {
    steps.push_back({*file.get_tensor(name), &place});
  };
  const Model::Layout& layout = model.layout();
  add(kEmbedding, layout.embedding);
  for (uint32_t i = 0; i < model.config().layers; ++i) {
    for (const LayerPart& part : layer_parts(model.config())) {
      add(layer_prefix(i) + part.name, layout.layers[i].*part.place);
    }
  }
  add(kOutputNorm, layout.output_norm);
  if (!layout.output.pieces().empty()) add(kOutput, layout.output);
  return steps;
}

void run_step(const LoadStep& step, ComputePool& pool) {
  const uint64_t rows = step.tensor->rows();
  const uint64_t columns = step.tensor->columns();
  const auto tiles = static_cast<uint32_t>((rows + kRowsPerTile - 1) / kRowsPerTile);
  pool.parallel_for(tiles, [&](uint32_t tile) {
    const uint64_t first = uint64_t{tile} * kRowsPerTile;
    const uint64_t last = std::min(rows, first + kRowsPerTile);
    std::vector<float> values(columns);
    for (uint64_t row = first; row < last; ++row) {
      if (!step.place->holds_row(row)) continue;
      dequantize_row(*step.tensor, row, values);
      step.place->store_row(row, values);
    }
  });
}

}  // namespace

Result<std::unique_ptr<Model>> load_gguf_model(const GgufFile& file, ComputePool& pool,
                                               const LoadProgress& progress,
                                               const IndexRange& parts) {
  auto config = read_config(file);
  if (!config.is_ok()) return config.status();
  auto tokenizer = load_tokenizer(file);
  if (!tokenizer.is_ok()) return tokenizer.status();
  const bool tied_output = !file.tensors().contains(kOutput);
  BATON_RETURN_IF_ERROR(check_tensors(file, *config, tied_output));
  const uint64_t total_bytes = config->weight_floats(tied_output) * sizeof(float);
  auto model = Model::create(std::move(*config), tied_output, std::move(*tokenizer), parts);
  if (!model.is_ok()) return model.status();
  uint64_t done_bytes = 0;
  for (const LoadStep& step : list_steps(file, **model)) {
    run_step(step, pool);
    done_bytes += step.tensor->rows() * step.tensor->columns() * sizeof(float);
    if (progress) progress(done_bytes, total_bytes);
  }
  return model;
}

}  // namespace baton_engine
