#include "examples/reference_engine/tiny_model.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace baton_engine {

using baton::Result;

namespace {

// SplitMix64 (Steele, Lea and Flood, 2014).
uint64_t next_random(uint64_t& state) {
  state += 0x9e3779b97f4a7c15U;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

// Values of one tensor after the other, in the order of the tensors' rows.
class RandomWeights {
 public:
  explicit RandomWeights(uint64_t seed) : state_(seed) {}

  // Uniform in [middle - bound, middle + bound).
  void fill(const WeightPlace& place, uint64_t rows, uint64_t columns, float bound,
            float middle = 0.0F) {
    std::vector<float> row(columns);
    for (uint64_t i = 0; i < rows; ++i) {
      for (float& value : row) {
        const auto fraction = static_cast<float>(next_random(state_) >> 40) * 0x1p-23F - 1.0F;
        value = fraction * bound + middle;
      }
      place.store_row(i, row);
    }
  }
  void fill_norm(const WeightPlace& place, uint64_t columns) {
    fill(place, 1, columns, 0.25F, 1.0F);
  }

 private:
  uint64_t state_;
};

Vocabulary tiny_vocabulary() {
  Vocabulary vocabulary;
  for (const char* text : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    vocabulary.tokens.push_back(text);
    vocabulary.kinds.push_back(TokenKind::kSpecial);
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(std::string(1, static_cast<char>(byte)));
    vocabulary.kinds.push_back(TokenKind::kNormal);
  }
  vocabulary.end_of_sequence = 2;
  vocabulary.chat_system_prompt = "You are a tiny model of random weights.";
  return vocabulary;
}

}  // namespace

Result<std::unique_ptr<Model>> make_tiny_model(uint64_t seed, const TinyShape& shape,
                                               const IndexRange& parts) {
  auto tokenizer = Tokenizer::create(tiny_vocabulary());
  if (!tokenizer.is_ok()) return tokenizer.status();
  ModelConfig config;
  config.name = "tiny:" + std::to_string(seed);
  if (shape.heads != TinyShape{}.heads || shape.kv_heads != TinyShape{}.kv_heads) {
    config.name += ":" + std::to_string(shape.heads) + ":" + std::to_string(shape.kv_heads);
  }
  config.layers = 4;
  config.hidden = 64;
  config.feed_forward = shape.feed_forward;
  config.heads = shape.heads;
  config.kv_heads = shape.kv_heads;
  config.head_dim = 16;
  config.vocabulary = tokenizer->vocabulary_size();
  config.context_tokens = 2048;
  const uint64_t hidden = config.hidden;
  const uint64_t query = config.query_width();
  const uint64_t kv = config.kv_width();
  const uint64_t width = config.feed_forward;
  const uint64_t vocabulary = config.vocabulary;
  auto model = Model::create(std::move(config), true, std::move(*tokenizer), parts);
  if (!model.is_ok()) return model.status();
  const Model::Layout& layout = (*model)->layout();
  RandomWeights random(seed);
  // Bounds that keep activations of order one from layer to layer and attention far from uniform.
  const float wide = 2.0F / std::sqrt(64.0F);
  const float narrow = 1.0F / std::sqrt(64.0F);
  random.fill(layout.embedding, vocabulary, hidden, 1.0F);
  for (const Model::Layout::Layer& layer : layout.layers) {
    random.fill_norm(layer.attention_norm, hidden);
    random.fill(layer.query, query, hidden, wide);
    random.fill(layer.key, kv, hidden, wide);
    random.fill(layer.value, kv, hidden, narrow);
    random.fill(layer.attention_output, hidden, query, narrow);
    random.fill_norm(layer.feed_forward_norm, hidden);
    random.fill(layer.gate, width, hidden, wide);
    random.fill(layer.up, width, hidden, narrow);
    random.fill(layer.down, hidden, width, narrow);
  }
  random.fill_norm(layout.output_norm, hidden);
  return model;
}

}  // namespace baton_engine
