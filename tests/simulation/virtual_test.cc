// What the simulation in virtual time is good for rests on this: the same seed is the same run. The
// seeds themselves are run by baton-sim (tests/simulation/CMakeLists.txt).
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "tests/simulation/virtual_run.h"

namespace baton_test {
namespace {

class Virtual : public testing::TestWithParam<std::string> {};

TEST_P(Virtual, TheSameSeedIsTheSameRun) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const SimScenario scenario = make_sim_scenario(seed, GetParam());
    uint64_t hashes[2] = {};
    int64_t ends_ns[2] = {};
    for (int round = 0; round < 2; ++round) {
      RunTally tally;
      // Other addresses than in the other round.
      const std::vector<uint8_t> elsewhere(static_cast<size_t>(round) * 100'000);
      VirtualRun run(scenario, false, &tally);
      run.run([] { return testing::Test::HasFailure(); });
      hashes[round] = run.hash();
      ends_ns[round] = tally.virtual_ns;
    }
    EXPECT_EQ(hashes[0], hashes[1]) << "seed " << seed;
    EXPECT_EQ(ends_ns[0], ends_ns[1]) << "seed " << seed;
  }
}

TEST_P(Virtual, AnotherSeedIsAnotherRun) {
  uint64_t hashes[2] = {};
  for (uint64_t seed = 0; seed < 2; ++seed) {
    const SimScenario scenario = make_sim_scenario(20 + seed, GetParam());
    RunTally tally;
    VirtualRun run(scenario, false, &tally);
    run.run([] { return testing::Test::HasFailure(); });
    hashes[seed] = run.hash();
  }
  EXPECT_NE(hashes[0], hashes[1]);
}

INSTANTIATE_TEST_SUITE_P(Capabilities, Virtual, testing::Values("rc", "srd", "tcp", "shm"),
                         [](const auto& one) { return one.param; });

// One thing due at a time, in order; the time is that of what happens.
TEST(World, RunsWhatIsDueInOrder) {
  World world(1, false);
  const int64_t start_ns = world.now_ns();
  std::vector<int> seen;
  world.at(start_ns + 20, [&] { seen.push_back(2); });
  world.at(start_ns + 10, [&] {
    seen.push_back(1);
    world.at(start_ns + 5, [&] { seen.push_back(10); });  // that time is over: now
  });
  world.at(start_ns + 20, [&] { seen.push_back(3); });
  while (world.step(start_ns + 20)) {
  }
  EXPECT_EQ(seen, (std::vector<int>{1, 10, 2, 3}));
  EXPECT_EQ(world.now_ns(), start_ns + 20);
  EXPECT_FALSE(world.step(start_ns + 500));
  EXPECT_EQ(world.now_ns(), start_ns + 500);
}

TEST(World, HashesWhatIsNoted) {
  World one(1, false);
  World other(1, false);
  one.note(0, "something", 1, 2);
  other.note(0, "something", 1, 3);
  EXPECT_NE(one.hash(), other.hash());
}

class Owner final : public PieceOwner {
 public:
  std::string may_land(uint32_t layer, uint64_t grant) const override {
    return grant == 7 && layer == 0 ? "" : "no";
  }
};

TEST(Shadow, LetsOnlyOpenPiecesBeWritten) {
  const Owner owner;
  const std::vector<uint8_t> memory(100);
  Shadow shadow;
  shadow.open(memory.data() + 10, 20, 0, &owner);
  shadow.open(memory.data() + 30, 10, 0, &owner);
  EXPECT_EQ(shadow.check(memory.data() + 10, 30, 7), "");  // over both
  EXPECT_EQ(shadow.check(memory.data() + 15, 3, 8), "no");
  EXPECT_NE(shadow.check(memory.data() + 9, 2, 7), "");
  EXPECT_NE(shadow.check(memory.data() + 39, 2, 7), "");
  shadow.close(memory.data() + 30);
  EXPECT_NE(shadow.check(memory.data() + 29, 2, 7), "");
}

// Of three readers one may still read: the blocks are nobody else's.
TEST(ContextMemory, BlocksInUseAreNotGivenBack) {
  const Scenario scenario = make_scenario(1);
  ContextMemory memory(scenario.contexts[0]);
  baton::base::Random random(1);
  BlockLists blocks;
  ASSERT_TRUE(memory.take_blocks(Way::kOut, {0, 1}, random, &blocks));
  for (int reader = 0; reader < 2; ++reader) memory.begin_use(Way::kOut, blocks);
  memory.end_use(Way::kOut, blocks);
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    memory.give_back(Way::kOut, blocks);
  }
  EXPECT_GT(results.size(), 0);
  memory.end_use(Way::kOut, blocks);
  memory.give_back(Way::kOut, blocks);
}

}  // namespace
}  // namespace baton_test
