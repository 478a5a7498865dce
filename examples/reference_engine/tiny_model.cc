#include "examples/reference_engine/tiny_model.h"

#include <cmath>
#include <string>
#include <utility>

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

// Uniform in [-bound, bound).
void fill(std::span<float> out, float bound, uint64_t& state) {
  for (float& value : out) {
    const auto fraction = static_cast<float>(next_random(state) >> 40) * 0x1p-23F - 1.0F;
    value = fraction * bound;
  }
}

void fill_norm(std::span<float> out, uint64_t& state) {
  fill(out, 0.25F, state);
  for (float& value : out) value += 1.0F;
}

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

Result<std::unique_ptr<Model>> make_tiny_model(uint64_t seed) {
  auto tokenizer = Tokenizer::create(tiny_vocabulary());
  if (!tokenizer.is_ok()) return tokenizer.status();
  ModelConfig config;
  config.name = "tiny:" + std::to_string(seed);
  config.layers = 4;
  config.hidden = 64;
  config.feed_forward = 128;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.vocabulary = tokenizer->vocabulary_size();
  config.context_tokens = 2048;
  auto model = Model::create(std::move(config), true, std::move(*tokenizer));
  if (!model.is_ok()) return model.status();
  const Model::Layout& layout = (*model)->layout();
  uint64_t state = seed;
  // Bounds that keep activations of order one from layer to layer and attention far from uniform.
  const float wide = 2.0F / std::sqrt(64.0F);
  const float narrow = 1.0F / std::sqrt(64.0F);
  fill(layout.embedding, 1.0F, state);
  for (const Model::Layout::Layer& layer : layout.layers) {
    fill_norm(layer.attention_norm, state);
    fill(layer.query, wide, state);
    fill(layer.key, wide, state);
    fill(layer.value, narrow, state);
    fill(layer.attention_output, narrow, state);
    fill_norm(layer.feed_forward_norm, state);
    fill(layer.gate, wide, state);
    fill(layer.up, narrow, state);
    fill(layer.down, narrow, state);
  }
  fill_norm(layout.output_norm, state);
  return model;
}

}  // namespace baton_engine
