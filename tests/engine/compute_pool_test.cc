#include "examples/reference_engine/compute_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace {

using baton_engine::ComputePool;

TEST(ComputePoolTest, RunsEveryTileOnceAndShowsWhatTheyWrote) {
  for (const uint32_t threads : {1U, 2U, 5U}) {
    ComputePool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (uint32_t round = 0; round < 500; ++round) {
      const uint32_t tiles = round % 17;
      std::vector<uint32_t> written(tiles, 0);  // plain: a missing tile or a race shows
      pool.parallel_for(tiles, [&](uint32_t tile) { written[tile] += tile + round; });
      for (uint32_t tile = 0; tile < tiles; ++tile) ASSERT_EQ(written[tile], tile + round);
    }
  }
}

TEST(ComputePoolTest, LoopsOfSeveralCallersDoNotMix) {
  ComputePool pool(3);
  std::vector<std::thread> callers;
  for (uint32_t caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&pool] {
      for (uint32_t round = 0; round < 200; ++round) {
        std::vector<uint32_t> written(8, 0);
        pool.parallel_for(8, [&](uint32_t tile) { ++written[tile]; });
        for (const uint32_t count : written) ASSERT_EQ(count, 1U);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
