// Model: the weights of a Llama model as float32, and its tokenizer. Immutable once made. Each
// layer is held in parts (TensorParts); a tensor-parallel rank holds its own part alone.
//
// Ownership: owns all of it. Thread rule: const use from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/float_buffer.h"
#include "examples/reference_engine/matrix_product.h"
#include "examples/reference_engine/model_config.h"
#include "examples/reference_engine/tensor_parts.h"
#include "examples/reference_engine/tokenizer.h"
#include "examples/reference_engine/weight_place.h"

namespace baton_engine {

// One of the three parts of a layer (TensorParts). Without data when the part is not held; without
// rows or columns when the model has too few heads for three parts.
struct PartWeights {
  WeightMatrix query;             // [query heads x head_dim][hidden]
  WeightMatrix key;               // [KV heads x head_dim][hidden]
  WeightMatrix value;             // the same
  WeightMatrix attention_output;  // [hidden][query heads x head_dim]
  WeightMatrix gate;              // [feed-forward columns][hidden]
  WeightMatrix up;                // the same
  WeightMatrix down;              // [hidden][feed-forward columns]
};

struct LayerWeights {
  std::span<const float> attention_norm;     // [hidden]
  std::span<const float> feed_forward_norm;  // [hidden]
  std::array<PartWeights, kTensorParts> parts;
};

class Model {
 public:
  // Where the loader puts the rows of each tensor.
  struct Layout {
    struct Layer {
      WeightPlace attention_norm, query, key, value, attention_output;
      WeightPlace feed_forward_norm, gate, up, down;
    };
    WeightPlace embedding;  // [vocabulary][hidden]
    std::vector<Layer> layers;
    WeightPlace output_norm;
    WeightPlace output;  // without pieces when tied to the embedding
  };

  // Reserves the weights of `parts`, uninitialised; the loader fills layout() before anybody reads.
  // kInvalidArgument for a wrong config or a tokenizer of another vocabulary size; kExhausted
  // without the memory.
  static baton::Result<std::unique_ptr<Model>> create(ModelConfig config, bool tied_output,
                                                      Tokenizer tokenizer,
                                                      const IndexRange& parts = kAllParts);

  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const Layout& layout() const { return layout_; }
  // The parts that are held.
  const IndexRange& parts() const { return parts_; }

  std::span<const float> embedding(uint32_t token) const {
    return {embedding_ + size_t{token} * config_.hidden, config_.hidden};
  }
  const LayerWeights& layer(uint32_t index) const { return layers_[index]; }
  std::span<const float> output_norm() const { return output_norm_; }
  const WeightMatrix& output() const { return output_; }

  // The rotary angles of one position: head_dim / 2 of each. REQUIRES: position < context_tokens.
  std::span<const float> rope_cosine(uint32_t position) const;
  std::span<const float> rope_sine(uint32_t position) const;

 private:
  class Carver;

  Model(ModelConfig config, bool tied_output, Tokenizer tokenizer, const IndexRange& parts);
  // Gives each tensor its place from `base` on; returns how many floats that takes. Without a base
  // it counts them.
  uint64_t lay_out(float* base);
  void lay_out_layer(Carver& carver);
  void fill_rope();

  ModelConfig config_;
  bool tied_output_;
  Tokenizer tokenizer_;
  IndexRange parts_;
  FloatBuffer weights_;
  Layout layout_;
  std::vector<LayerWeights> layers_;
  const float* embedding_ = nullptr;
  std::span<const float> output_norm_;
  WeightMatrix output_;
  std::vector<float> rope_;  // per position: cosines, then sines
};

}  // namespace baton_engine
