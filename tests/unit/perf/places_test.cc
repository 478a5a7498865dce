#include "perf/lib/places.h"

#include <gtest/gtest.h>

#include <set>

namespace baton_perf {
namespace {

TEST(PlacesTest, NoPlaceRepeatsBeforeAllWereUsed) {
  const auto places =
      Places::create({.run_bytes = 10, .runs_per_batch = 4, .footprint_bytes = 1005, .seed = 3}, 2);
  ASSERT_TRUE(places.is_ok());
  EXPECT_EQ(places->num_batches(), 25u);
  std::set<uint64_t> sources, targets;
  for (uint64_t b = 0; b < places->num_batches(); ++b) {
    ASSERT_EQ(places->batch(b).size(), 4u);
    for (const Place& place : places->batch(b)) {
      EXPECT_LE(place.source_offset_bytes + 10, 1005u);
      EXPECT_EQ(place.target_offset_bytes % 10, 0u);
      EXPECT_TRUE(sources.insert(place.source_offset_bytes).second);
      EXPECT_TRUE(targets.insert(place.target_offset_bytes).second);
    }
  }
  EXPECT_EQ(places->batch(25).data(), places->batch(0).data());
}

TEST(PlacesTest, BothSidesComputeTheSame) {
  const Shape shape{.run_bytes = 8, .runs_per_batch = 8, .footprint_bytes = 4096, .seed = 11};
  const auto one = Places::create(shape, 1);
  const auto other = Places::create(shape, 1);
  ASSERT_TRUE(one.is_ok() && other.is_ok());
  for (uint64_t b = 0; b < one->num_batches(); ++b) {
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(one->batch(b)[i].source_offset_bytes, other->batch(b)[i].source_offset_bytes);
      EXPECT_EQ(one->batch(b)[i].target_offset_bytes, other->batch(b)[i].target_offset_bytes);
    }
  }
}

TEST(PlacesTest, WrongShapesAreNamed) {
  const auto message = [](const Shape& shape, uint32_t in_flight) {
    return Places::create(shape, in_flight).status().message();
  };
  EXPECT_NE(message({.run_bytes = 0, .runs_per_batch = 1, .footprint_bytes = 9}, 1), "");
  EXPECT_NE(message({.run_bytes = 1, .runs_per_batch = 0, .footprint_bytes = 9}, 1), "");
  EXPECT_NE(message({.run_bytes = 1, .runs_per_batch = 1, .footprint_bytes = 9}, 0), "");
  EXPECT_NE(message({.run_bytes = UINT64_MAX, .runs_per_batch = 2, .footprint_bytes = 9}, 1), "");
  const std::string text =
      message({.run_bytes = 1024, .runs_per_batch = 4, .footprint_bytes = 7168}, 2);
  EXPECT_EQ(text, "the footprint of 7 KiB holds 7 runs of 1 KiB, and 8 are in flight");
}

}  // namespace
}  // namespace baton_perf
