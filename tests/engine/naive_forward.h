// The forward pass once more, as plainly as it can be written: double precision, no pages, no BLAS,
// every position computed anew. For small models in tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "examples/reference_engine/model.h"

namespace baton_test {

class NaiveForward {
 public:
  // What the KV cache keeps of a number: rounding, or nothing.
  using KeepKv = std::function<double(double)>;

  NaiveForward(const baton_engine::Model& model, KeepKv keep_kv)
      : model_(model), config_(model.config()), keep_kv_(std::move(keep_kv)) {}

  // The logits after the last of `tokens`.
  std::vector<double> logits(std::span<const uint32_t> tokens) {
    std::vector<Row> rows;
    for (const uint32_t token : tokens) {
      const auto embedding = model_.embedding(token);
      rows.emplace_back(embedding.begin(), embedding.end());
    }
    for (uint32_t layer = 0; layer < config_.layers; ++layer) run_layer(layer, rows);
    return product(model_.output(), norm(rows.back(), model_.output_norm()));
  }

 private:
  using Row = std::vector<double>;

  Row norm(const Row& in, std::span<const float> weight) const {
    double sum = 0;
    for (const double value : in) sum += value * value;
    const double scale =
        1.0 / std::sqrt(sum / static_cast<double>(in.size()) + double{config_.norm_epsilon});
    Row out(in.size());
    for (size_t i = 0; i < in.size(); ++i) out[i] = in[i] * scale * double{weight[i]};
    return out;
  }

  // Adds to out, whose first place is for the weights' first output.
  static void add_product(const baton_engine::WeightMatrix& weights, std::span<const double> in,
                          double* out) {
    for (size_t o = 0; o < weights.outputs; ++o) {
      for (size_t i = 0; i < weights.inputs; ++i) {
        out[o] += in[i] * double{weights.data[o * weights.inputs + i]};
      }
    }
  }
  static Row product(const baton_engine::WeightMatrix& weights, const Row& in) {
    Row out(weights.outputs, 0.0);
    add_product(weights, in, out.data());
    return out;
  }

  // Query heads, then key heads, then value heads. Copies of a KV head are the same: the last part
  // that has it counts.
  Row project(uint32_t layer, const Row& in) const {
    const size_t size = config_.head_dim;
    Row out(config_.query_width() + 2 * config_.kv_width(), 0.0);
    for (uint32_t index = 0; index < baton_engine::kTensorParts; ++index) {
      const auto cut = baton_engine::tensor_part(config_, index);
      const auto& part = model_.layer(layer).parts[index];
      const auto put = [&](const baton_engine::WeightMatrix& weights, size_t at) {
        if (weights.outputs == 0) return;
        std::fill_n(out.begin() + static_cast<ptrdiff_t>(at), weights.outputs, 0.0);
        add_product(weights, in, out.data() + at);
      };
      put(part.query, cut.query_heads.first * size);
      put(part.key, config_.query_width() + cut.kv_heads.first * size);
      put(part.value, config_.query_width() + config_.kv_width() + cut.kv_heads.first * size);
    }
    return out;
  }

  Row attention_output(uint32_t layer, const Row& attended) const {
    Row out(config_.hidden, 0.0);
    for (uint32_t index = 0; index < baton_engine::kTensorParts; ++index) {
      const auto heads = baton_engine::tensor_part(config_, index).query_heads;
      add_product(model_.layer(layer).parts[index].attention_output,
                  std::span(attended).subspan(size_t{heads.first} * config_.head_dim), out.data());
    }
    return out;
  }

  Row feed_forward(uint32_t layer, const Row& in) const {
    Row out(config_.hidden, 0.0);
    for (const auto& part : model_.layer(layer).parts) {
      const Row gate = product(part.gate, in);
      Row activated = product(part.up, in);
      for (size_t i = 0; i < activated.size(); ++i) {
        activated[i] *= gate[i] / (1.0 + std::exp(-gate[i]));
      }
      add_product(part.down, activated, out.data());
    }
    return out;
  }

  void turn(double* head, size_t position) const {
    for (uint32_t i = 0; i < config_.head_dim / 2; ++i) {
      const double angle = static_cast<double>(position) *
                           std::pow(double{config_.rope_base}, -2.0 * i / config_.head_dim);
      const double even = head[2 * i];
      const double odd = head[2 * i + 1];
      head[2 * i] = even * std::cos(angle) - odd * std::sin(angle);
      head[2 * i + 1] = even * std::sin(angle) + odd * std::cos(angle);
    }
  }

  void run_layer(uint32_t layer, std::vector<Row>& rows) {
    const auto& weights = model_.layer(layer);
    std::vector<Row> qkv;
    for (size_t t = 0; t < rows.size(); ++t) {
      Row row = project(layer, norm(rows[t], weights.attention_norm));
      for (uint32_t h = 0; h < config_.heads + config_.kv_heads; ++h) {
        turn(row.data() + size_t{h} * config_.head_dim, t);
      }
      for (size_t i = config_.query_width(); i < row.size(); ++i) row[i] = keep_kv_(row[i]);
      qkv.push_back(std::move(row));
    }
    for (size_t t = 0; t < rows.size(); ++t) {
      add(rows[t], attention_output(layer, attend(qkv, t)));
      add(rows[t], feed_forward(layer, norm(rows[t], weights.feed_forward_norm)));
    }
  }

  Row attend(const std::vector<Row>& qkv, size_t t) const {
    const size_t size = config_.head_dim;
    Row out(config_.query_width(), 0.0);
    for (size_t h = 0; h < config_.heads; ++h) {
      const size_t key_at = config_.query_width() + h / config_.group() * size;
      const size_t value_at = key_at + config_.kv_width();
      Row weight(t + 1, 0.0);
      double sum = 0;
      for (size_t s = 0; s <= t; ++s) {
        double score = 0;
        for (size_t i = 0; i < size; ++i) score += qkv[t][h * size + i] * qkv[s][key_at + i];
        weight[s] = std::exp(score / std::sqrt(static_cast<double>(size)));
        sum += weight[s];
      }
      for (size_t s = 0; s <= t; ++s) {
        for (size_t i = 0; i < size; ++i) {
          out[h * size + i] += weight[s] / sum * qkv[s][value_at + i];
        }
      }
    }
    return out;
  }

  static void add(Row& to, const Row& from) {
    for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  }

  const baton_engine::Model& model_;
  const baton_engine::ModelConfig& config_;
  KeepKv keep_kv_;
};

}  // namespace baton_test
