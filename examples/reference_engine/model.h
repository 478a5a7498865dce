// Model: the weights of a Llama model as float32, and its tokenizer. Immutable once made.
//
// Ownership: owns all of it. Thread rule: const use from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/float_buffer.h"
#include "examples/reference_engine/matrix_product.h"
#include "examples/reference_engine/model_config.h"
#include "examples/reference_engine/tokenizer.h"

namespace baton_engine {

struct LayerWeights {
  std::span<const float> attention_norm;     // [hidden]
  WeightMatrix qkv;                          // query rows, then key rows, then value rows
  WeightMatrix attention_output;             // [hidden][query_width]
  std::span<const float> feed_forward_norm;  // [hidden]
  WeightMatrix gate_up;                      // gate rows, then up rows
  WeightMatrix down;                         // [hidden][feed_forward]
};

class Model {
 public:
  // Where the loader puts weights: the parts of one buffer.
  struct Layout {
    struct Layer {
      std::span<float> attention_norm, query, key, value, attention_output;
      std::span<float> feed_forward_norm, gate, up, down;
    };
    std::span<float> embedding;  // [vocabulary][hidden]
    std::vector<Layer> layers;
    std::span<float> output_norm;
    std::span<float> output;  // empty when tied to the embedding
  };

  // Reserves the weights, uninitialised; the loader fills layout() before anybody reads.
  // kInvalidArgument for a wrong config or a tokenizer of another vocabulary size; kExhausted
  // without the memory.
  static baton::Result<std::unique_ptr<Model>> create(ModelConfig config, bool tied_output,
                                                      Tokenizer tokenizer);

  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const Layout& layout() { return layout_; }

  std::span<const float> embedding(uint32_t token) const {
    return std::span<const float>(layout_.embedding)
        .subspan(size_t{token} * config_.hidden, config_.hidden);
  }
  const LayerWeights& layer(uint32_t index) const { return layers_[index]; }
  std::span<const float> output_norm() const { return layout_.output_norm; }
  const WeightMatrix& output() const { return output_; }

  // The rotary angles of one position: head_dim / 2 of each. REQUIRES: position < context_tokens.
  std::span<const float> rope_cosine(uint32_t position) const;
  std::span<const float> rope_sine(uint32_t position) const;

 private:
  Model(ModelConfig config, Tokenizer tokenizer, FloatBuffer weights, bool tied_output);
  void lay_out(bool tied_output);
  void fill_rope();

  ModelConfig config_;
  Tokenizer tokenizer_;
  FloatBuffer weights_;
  Layout layout_;
  std::vector<LayerWeights> layers_;
  WeightMatrix output_;
  std::vector<float> rope_;  // per position: cosines, then sines
};

}  // namespace baton_engine
