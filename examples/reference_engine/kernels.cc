#include "examples/reference_engine/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

#include "examples/reference_engine/engine_assert.h"

namespace baton_engine {

float fast_exp(float x) {
  // e^x = 2^n * e^r with n = round(x / ln 2) and |r| <= ln 2 / 2; ln 2 in two parts keeps r exact.
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float clamped = std::min(std::max(x, -87.0F), 88.0F);
  const float shifted = clamped * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  // Cephes' minimax polynomial of expf.
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const auto exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  return p * std::bit_cast<float>((exponent + 127) << 23);
}

void rms_norm(std::span<const float> in, std::span<const float> weight, float epsilon,
              std::span<float> out) {
  ENGINE_ASSERT(in.size() == weight.size() && in.size() == out.size() && !in.empty());
  // Eight running sums: the compiler may not reorder one, and one would wait for itself.
  constexpr size_t kLanes = 8;
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= in.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += in[i + lane] * in[i + lane];
  }
  double sum = 0.0;
  for (; i < in.size(); ++i) sum += double{in[i]} * double{in[i]};
  for (const float lane : lanes) sum += double{lane};
  const double mean = sum / static_cast<double>(in.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + double{epsilon}));
  for (size_t j = 0; j < in.size(); ++j) out[j] = in[j] * scale * weight[j];
}

void rotate_pairs(std::span<float> head, std::span<const float> cosine,
                  std::span<const float> sine) {
  for (size_t i = 0; i < cosine.size(); ++i) {
    const float even = head[2 * i];
    const float odd = head[2 * i + 1];
    head[2 * i] = even * cosine[i] - odd * sine[i];
    head[2 * i + 1] = even * sine[i] + odd * cosine[i];
  }
}

void swiglu(std::span<const float> gate_up, std::span<float> out) {
  const float* gate = gate_up.data();
  const float* up = gate + out.size();
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = gate[i] / (1.0F + fast_exp(-gate[i])) * up[i];
  }
}

void add_partials(std::span<float> hidden, std::span<const float* const> partials) {
  ENGINE_ASSERT(!partials.empty() && partials.size() <= 3);
  const float* a = partials[0];
  const float* b = partials.size() > 1 ? partials[1] : nullptr;
  const float* c = partials.size() > 2 ? partials[2] : nullptr;
  float* out = hidden.data();
  const size_t count = hidden.size();
  if (c != nullptr) {
    for (size_t i = 0; i < count; ++i) out[i] += (a[i] + b[i]) + c[i];
  } else if (b != nullptr) {
    for (size_t i = 0; i < count; ++i) out[i] += a[i] + b[i];
  } else {
    for (size_t i = 0; i < count; ++i) out[i] += a[i];
  }
}

void masked_softmax(std::span<float> scores, uint32_t valid, float scale) {
  ENGINE_ASSERT(valid >= 1 && valid <= scores.size());
  float* score = scores.data();
  float largest = score[0];
  for (uint32_t i = 1; i < valid; ++i) largest = std::max(largest, score[i]);
  for (uint32_t i = 0; i < valid; ++i) score[i] = fast_exp((score[i] - largest) * scale);
  double sum = 0.0;
  for (uint32_t i = 0; i < valid; ++i) sum += double{score[i]};
  const auto inverse = static_cast<float>(1.0 / sum);
  for (uint32_t i = 0; i < valid; ++i) score[i] *= inverse;
  std::fill(scores.begin() + valid, scores.end(), 0.0F);
}

}  // namespace baton_engine
