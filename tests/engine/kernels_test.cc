#include "examples/reference_engine/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "examples/reference_engine/sampler.h"

namespace {

TEST(KernelsTest, FastExpIsWithinItsBound) {
  for (float x = -87.0F; x <= 88.0F; x += 0.00371F) {
    const double exact = std::exp(double{x});
    ASSERT_NEAR(static_cast<double>(baton_engine::fast_exp(x)) / exact, 1.0, 3e-7) << x;
  }
  EXPECT_EQ(baton_engine::fast_exp(0.0F), 1.0F);
  EXPECT_EQ(baton_engine::fast_exp(-1e30F), baton_engine::fast_exp(-87.0F));
}

TEST(KernelsTest, SoftmaxSumsToOneAndMasksTheRest) {
  std::vector<float> scores = {1, 5, 3, 1000, -7};
  baton_engine::masked_softmax(scores, 3, 0.5F);
  const double total = std::exp(-2.0) + 1.0 + std::exp(-1.0);
  EXPECT_NEAR(scores[0], std::exp(-2.0) / total, 1e-6);
  EXPECT_NEAR(scores[1], 1.0 / total, 1e-6);
  EXPECT_NEAR(scores[2], std::exp(-1.0) / total, 1e-6);
  EXPECT_EQ(scores[3], 0.0F);
  EXPECT_EQ(scores[4], 0.0F);
}

TEST(KernelsTest, RmsNormOfLengthsThatAreNoMultipleOfTheLanes) {
  for (const size_t length : {1U, 7U, 8U, 13U}) {
    std::vector<float> in(length);
    for (size_t i = 0; i < length; ++i) in[i] = static_cast<float>(i) - 3.5F;
    std::vector<float> out(length);
    baton_engine::rms_norm(in, std::vector<float>(length, 2.0F), 1e-5F, out);
    double sum = 0.0;
    for (const float value : in) sum += double{value} * double{value};
    const double scale = 2.0 / std::sqrt(sum / static_cast<double>(length) + 1e-5);
    for (size_t i = 0; i < length; ++i) EXPECT_NEAR(out[i], double{in[i]} * scale, 1e-5);
  }
}

TEST(KernelsTest, RotationTurnsNeighbouringPairs) {
  std::vector<float> head = {1, 0, 0, 1};
  const std::vector<float> cosine = {0, 0.6F};
  const std::vector<float> sine = {1, 0.8F};
  baton_engine::rotate_pairs(head, cosine, sine);
  EXPECT_THAT(head, ::testing::ElementsAre(0.0F, 1.0F, -0.8F, 0.6F));
}

TEST(SamplerTest, TakesTheLowestOfEqualLogits) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(baton_engine::greedy_token(std::vector<float>{1, 3, 3, 2}), 1U);
  EXPECT_EQ(baton_engine::greedy_token(std::vector<float>{nan, -5, nan, -4}), 3U);
  EXPECT_EQ(baton_engine::greedy_token(std::vector<float>{nan, nan}), 0U);
}

}  // namespace
