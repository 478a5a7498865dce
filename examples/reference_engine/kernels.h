// The element-wise parts of the forward pass. Plain loops in a fixed order, one thread each.
#pragma once

#include <cstdint>
#include <span>

namespace baton_engine {

// e^x within 3e-7 of the true value, relatively, for x in [-87, 88]; clamped outside. Branch-free,
// so that loops over it are vectorised; no libm, so that its bits do not depend on the machine.
float fast_exp(float x);

// out[i] = in[i] / sqrt(mean(in^2) + epsilon) * weight[i]. All of one length.
void rms_norm(std::span<const float> in, std::span<const float> weight, float epsilon,
              std::span<float> out);

// Rotates each neighbouring pair (2i, 2i+1) of one head by the angle of (cosine[i], sine[i]).
// REQUIRES: cosine and sine are half as long as head. This is the pairing of GGUF files of
// architecture llama: their query and key rows were permuted for it by the converter.
void rotate_pairs(std::span<float> head, std::span<const float> cosine,
                  std::span<const float> sine);

// gate_up holds a row's gate values, then as many up values. out[i] = silu(gate[i]) * up[i].
// REQUIRES: gate_up.size() == 2 * out.size().
void swiglu(std::span<const float> gate_up, std::span<float> out);

// hidden[i] += (partials[0][i] + partials[1][i]) + partials[2][i]; of one or two partials, without
// the rest. REQUIRES: 1 to 3 partials, each as long as hidden.
void add_partials(std::span<float> hidden, std::span<const float* const> partials);

// In place: scores[i] = exp(scores[i] * scale - max) / sum over [0, valid); zero in [valid, end).
// REQUIRES: 1 <= valid <= scores.size().
void masked_softmax(std::span<float> scores, uint32_t valid, float scale);

}  // namespace baton_engine
