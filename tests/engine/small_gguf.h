// A complete, tiny llama model as a GGUF file: what the loader's tests break in one place at a
// time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/engine/gguf_builder.h"

namespace baton_test {

struct SmallGguf {
  std::string architecture = "llama";
  std::string tokenizer = "gpt2";
  std::string pre_tokenizer = "smollm";
  uint32_t layers = 1;
  uint32_t feed_forward = 6;
  uint32_t heads = 2;
  uint32_t kv_heads = 1;
  std::vector<std::string> tokens = {"a", "b", "ab", "\xC4\xA0", "<|end|>"};  // U+0120: a space
  std::vector<int32_t> kinds = {1, 1, 1, 1, 3};
  std::vector<std::string> merges = {"a b"};
  std::string without_tensor = {};  // leave this one out
  std::string wrong_tensor = {};    // give this one a row too many

  float key_weight = 0.5F;  // the first of the key projection

  GgufBuilder builder() const {
    GgufBuilder out;
    out.add_string("general.architecture", architecture);
    out.add_u32("llama.block_count", layers);
    out.add_u32("llama.context_length", 16);
    out.add_u32("llama.embedding_length", 4);
    out.add_u32("llama.feed_forward_length", feed_forward);
    out.add_u32("llama.attention.head_count", heads);
    out.add_u32("llama.attention.head_count_kv", kv_heads);
    out.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
    out.add_string("tokenizer.ggml.model", tokenizer);
    out.add_string("tokenizer.ggml.pre", pre_tokenizer);
    out.add_strings("tokenizer.ggml.tokens", tokens);
    out.add_i32s("tokenizer.ggml.token_type", kinds);
    out.add_strings("tokenizer.ggml.merges", merges);
    out.add_u32("tokenizer.ggml.eos_token_id", 4);
    add_tensors(out);
    return out;
  }

 private:
  void add_tensors(GgufBuilder& out) const {
    add(out, "token_embd.weight", 4, 5);
    add(out, "blk.0.attn_norm.weight", 4, 1);
    add(out, "blk.0.attn_q.weight", 4, 4);
    add(out, "blk.0.attn_k.weight", 4, 2);
    add(out, "blk.0.attn_v.weight", 4, 2);
    add(out, "blk.0.attn_output.weight", 4, 4);
    add(out, "blk.0.ffn_norm.weight", 4, 1);
    add(out, "blk.0.ffn_gate.weight", 4, 6);
    add(out, "blk.0.ffn_up.weight", 4, 6);
    add(out, "blk.0.ffn_down.weight", 6, 4);
    add(out, "output_norm.weight", 4, 1);
  }
  void add(GgufBuilder& out, const std::string& name, uint64_t columns, uint64_t rows) const {
    if (name == without_tensor) return;
    const uint64_t stored = name == wrong_tensor ? rows + 1 : rows;
    std::vector<float> values(columns * stored, 0.5F);
    if (name == "blk.0.attn_k.weight") values[0] = key_weight;
    out.add_f32_tensor(name, {columns, stored}, values);
  }
};

}  // namespace baton_test
