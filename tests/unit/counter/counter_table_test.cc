#include "src/counter/counter_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/test_seed.h"

namespace baton::counter {
namespace {

constexpr PeerId kPeer(7);
constexpr PeerId kOther(8);

std::unique_ptr<CounterTable> make_table(uint32_t num_slots) {
  auto table = CounterTable::create(num_slots);
  EXPECT_TRUE(table.is_ok()) << table.status().to_string();
  return std::move(table).value();
}

SlotExtents allocate(CounterTable& table, uint32_t count) {
  auto slots = table.allocate(count);
  EXPECT_TRUE(slots.is_ok()) << slots.status().to_string();
  return std::move(slots).value();
}

uint32_t immediate_for(const CounterTable& table, SlotIndex slot, uint32_t weight) {
  return pack({slot, table.generation(slot), weight});
}

TEST(CounterTable, CountsUpToTheTarget) {
  auto table = make_table(16);
  const SlotIndex slot = allocate(*table, 1).at(0);
  table->arm(slot, kPeer, 300);

  // Expect: counted, then reached, each with what arrived.
  const Applied first = table->apply(immediate_for(*table, slot, 256), kPeer, 0);
  EXPECT_EQ(first.outcome, ApplyOutcome::kCounted);
  EXPECT_TRUE(first.was_counted());
  EXPECT_EQ(first.slot, slot);
  EXPECT_EQ(first.weight, 256u);
  EXPECT_EQ(table->count(slot), 256u);
  EXPECT_EQ(table->remaining(slot), 44u);
  EXPECT_EQ(table->apply(immediate_for(*table, slot, 44), kPeer, 0).outcome,
            ApplyOutcome::kTargetReached);
  EXPECT_EQ(table->remaining(slot), 0u);
  EXPECT_EQ(table->target(slot), 300u);
}

TEST(CounterTable, KeepsWhatEachPathBrought) {
  auto table = make_table(16);
  const SlotIndex slot = allocate(*table, 1).at(0);
  table->arm(slot, kPeer, 1000);
  uint64_t sum = 0;
  for (uint32_t path = 0; path < kMaxPathsPerPeer; ++path) {
    EXPECT_TRUE(table->apply(immediate_for(*table, slot, path + 1), kPeer, path).was_counted());
    EXPECT_TRUE(table->apply(immediate_for(*table, slot, 10), kPeer, path).was_counted());
    sum += path + 11;
  }
  for (uint32_t path = 0; path < kMaxPathsPerPeer; ++path) {
    EXPECT_EQ(table->applied(slot, path), path + 11);
  }
  EXPECT_EQ(table->count(slot), sum);
}

TEST(CounterTable, RefusesAnOvershootWhole) {
  auto table = make_table(16);
  const SlotIndex slot = allocate(*table, 1).at(0);
  table->arm(slot, kPeer, 10);
  EXPECT_TRUE(table->apply(immediate_for(*table, slot, 9), kPeer, 1).was_counted());
  const Applied over = table->apply(immediate_for(*table, slot, 2), kPeer, 1);
  EXPECT_EQ(over.outcome, ApplyOutcome::kOvershoot);
  EXPECT_FALSE(over.was_counted());
  EXPECT_EQ(table->count(slot), 9u);
  EXPECT_EQ(table->applied(slot, 1), 9u);
  EXPECT_EQ(table->apply(immediate_for(*table, slot, 1), kPeer, 1).outcome,
            ApplyOutcome::kTargetReached);
  EXPECT_EQ(table->apply(immediate_for(*table, slot, 1), kPeer, 1).outcome,
            ApplyOutcome::kOvershoot);
}

TEST(CounterTable, ATargetOfZeroTakesNothing) {
  auto table = make_table(16);
  const SlotIndex slot = allocate(*table, 1).at(0);
  table->arm(slot, kPeer, 0);
  EXPECT_EQ(table->remaining(slot), 0u);
  EXPECT_EQ(table->apply(immediate_for(*table, slot, 1), kPeer, 0).outcome,
            ApplyOutcome::kOvershoot);
}

TEST(CounterTable, RefusesAnotherPeer) {
  auto table = make_table(16);
  const SlotIndex slot = allocate(*table, 1).at(0);
  table->arm(slot, kPeer, 10);
  EXPECT_EQ(table->apply(immediate_for(*table, slot, 1), kOther, 0).outcome,
            ApplyOutcome::kNotOwner);
  EXPECT_EQ(table->count(slot), 0u);
}

TEST(CounterTable, RefusesWhatWasNeverArmed) {
  auto table = make_table(16);
  const SlotIndex slot = allocate(*table, 1).at(0);
  EXPECT_EQ(table->apply(immediate_for(*table, slot, 1), kPeer, 0).outcome, ApplyOutcome::kUnarmed);
  // Expect: the same for a slot never given out, and one past the table.
  EXPECT_EQ(table->apply(pack({SlotIndex(15), 0, 1}), kPeer, 0).outcome, ApplyOutcome::kUnarmed);
  EXPECT_EQ(table->apply(pack({SlotIndex(16), 0, 1}), kPeer, 0).outcome, ApplyOutcome::kUnarmed);
  EXPECT_EQ(table->apply(0xffffffffu, kPeer, 0).outcome, ApplyOutcome::kUnarmed);
}

TEST(CounterTable, GenerationIsATripwireThroughAllOfThem) {
  auto table = make_table(1);
  uint64_t counted_in_all = 0;
  for (uint32_t use = 0; use < 2 * kNumGenerations + 3; ++use) {
    const SlotExtents slots = allocate(*table, 1);
    const SlotIndex slot = slots.at(0);
    EXPECT_EQ(table->generation(slot), use % kNumGenerations);
    table->arm(slot, kPeer, use + 2);
    for (uint32_t generation = 0; generation < kNumGenerations; ++generation) {
      const bool current = generation == use % kNumGenerations;
      const uint32_t bits = pack({slot, static_cast<uint8_t>(generation), 1});
      EXPECT_EQ(table->apply(bits, kPeer, 0).outcome,
                current ? ApplyOutcome::kCounted : ApplyOutcome::kStaleGeneration);
    }
    // The value goes on from use to use; what counts starts at 0 each time.
    EXPECT_EQ(table->count(slot), 1u);
    EXPECT_EQ(table->applied(slot, 0), 1u);
    ++counted_in_all;
    const uint32_t late = immediate_for(*table, slot, 1);
    table->release(slots);
    EXPECT_EQ(table->apply(late, kPeer, 0).outcome, ApplyOutcome::kStaleGeneration);
  }
  EXPECT_EQ(counted_in_all, 2 * kNumGenerations + 3);
}

TEST(CounterTable, FreedSlotsAreReusedFirstInFirstOut) {
  auto table = make_table(8);
  const SlotExtents a = allocate(*table, 2);  // 0 1
  const SlotExtents b = allocate(*table, 3);  // 2 3 4
  table->release(b);
  table->release(a);
  // Expect: the never used first (5 6 7), then b's, then a's.
  const SlotExtents c = allocate(*table, 4);
  EXPECT_EQ(c.extents, (std::vector<SlotExtent>{{SlotIndex(5), 3}, {SlotIndex(2), 1}}));
  EXPECT_EQ(c.size(), 4u);
  EXPECT_EQ(c.at(2), SlotIndex(7));
  EXPECT_EQ(c.at(3), SlotIndex(2));
  const SlotExtents d = allocate(*table, 4);
  EXPECT_EQ(d.extents, (std::vector<SlotExtent>{{SlotIndex(3), 2}, {SlotIndex(0), 2}}));
}

TEST(CounterTable, NeighboursFreedInOrderBecomeOneExtent) {
  auto table = make_table(6);
  const SlotExtents a = allocate(*table, 2);
  const SlotExtents b = allocate(*table, 2);
  const SlotExtents c = allocate(*table, 2);
  table->release(a);
  table->release(b);
  table->release(c);
  EXPECT_EQ(allocate(*table, 6).extents, (std::vector<SlotExtent>{{SlotIndex(0), 6}}));
}

TEST(CounterTable, ExhaustionTakesNothingAndSaysHowMany) {
  auto table = make_table(4);
  const SlotExtents held = allocate(*table, 3);
  const auto refused = table->allocate(2);
  EXPECT_EQ(refused.code(), StatusCode::kExhausted);
  EXPECT_EQ(refused.status().message(), "counter slots: 2 asked for, 1 of 4 free");
  EXPECT_EQ(table->num_free(), 1u);
  EXPECT_EQ(allocate(*table, 0).size(), 0u);
  EXPECT_EQ(allocate(*table, 1).at(0), SlotIndex(3));
  table->release(held);
  EXPECT_EQ(allocate(*table, 3).size(), 3u);
}

TEST(CounterTable, TheWholeTableCanBeGivenOut) {
  auto table = make_table(kMaxSlots);
  const SlotExtents all = allocate(*table, kMaxSlots);
  EXPECT_EQ(all.extents.size(), 1u);
  EXPECT_EQ(table->num_free(), 0u);
  const SlotIndex last = all.at(kMaxSlots - 1);
  table->arm(last, kPeer, 1);
  EXPECT_EQ(table->apply(immediate_for(*table, last, 1), kPeer, 0).outcome,
            ApplyOutcome::kTargetReached);
}

// Against a model: a queue of slots, and who holds which.
TEST(CounterTable, RandomUseAgreesWithAQueueOfSlots) {
  std::mt19937_64 random(baton_test::test_seed());
  constexpr uint32_t kSlots = 64;
  auto table = make_table(kSlots);
  std::deque<uint32_t> queue;
  std::vector<uint32_t> generations(kSlots, 0);
  for (uint32_t slot = 0; slot < kSlots; ++slot) queue.push_back(slot);
  std::vector<SlotExtents> held;
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0) {
      const auto count = static_cast<uint32_t>(random() % 12);
      auto slots = table->allocate(count);
      ASSERT_EQ(slots.is_ok(), count <= queue.size());
      if (!slots.is_ok()) continue;
      ASSERT_EQ(slots->size(), count);
      for (uint32_t i = 0; i < count; ++i) {
        ASSERT_EQ(slots->at(i).value, queue.front());
        ASSERT_EQ(table->generation(slots->at(i)), generations[queue.front()]);
        queue.pop_front();
      }
      held.push_back(std::move(slots).value());
    } else if (!held.empty()) {
      const size_t which = random() % held.size();
      for (uint32_t i = 0; i < held[which].size(); ++i) {
        const uint32_t slot = held[which].at(i).value;
        queue.push_back(slot);
        generations[slot] = (generations[slot] + 1) % kNumGenerations;
      }
      table->release(held[which]);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
    }
    ASSERT_EQ(table->num_free(), queue.size());
  }
}

// Promise 1: when a counter reads n, the bytes of n units are visible to whoever read it. The bytes
// are plain memory, so that the thread sanitizer sees it when the order is missing.
TEST(CounterTable, ReadersSeeTheBytesOfTheUnitsTheyCount) {
  constexpr uint32_t kUnits = 100000;
  auto table = make_table(4);
  const SlotIndex slot = allocate(*table, 1).at(0);
  table->arm(slot, kPeer, kUnits);
  std::vector<uint32_t> bytes(kUnits, 0);
  std::thread data([&] {
    const uint32_t one = immediate_for(*table, slot, 1);
    for (uint32_t unit = 0; unit < kUnits; ++unit) {
      bytes[unit] = unit + 1;
      const Applied applied = table->apply(one, kPeer, 0);
      ASSERT_TRUE(applied.was_counted());
    }
  });
  uint64_t checked = 0;
  while (checked < kUnits) {
    const uint64_t count = table->count(slot);
    for (; checked < count; ++checked) ASSERT_EQ(bytes[checked], checked + 1);
    std::this_thread::yield();
  }
  data.join();
  EXPECT_EQ(table->remaining(slot), 0u);
}

// A slot is armed by one thread and counted by another that hears of it without any order (from the
// peer, by an immediate); whoever reads the full count may release the slot and arm it anew.
TEST(CounterTable, ArmingIsSeenByTheDataThreadAndTheFullCountByTheOwner) {
  constexpr uint32_t kRounds = 5000;
  auto table = make_table(1);
  // round:32 | immediate:32, relaxed.
  std::atomic<uint64_t> advertised{0};
  std::thread data([&] {
    for (uint32_t round = 1; round <= kRounds; ++round) {
      uint64_t word = 0;
      while (word >> 32 < round) {
        std::this_thread::yield();
        word = advertised.load(std::memory_order_relaxed);
      }
      const auto immediate = static_cast<uint32_t>(word);
      ASSERT_EQ(table->apply(immediate, kPeer, 0).outcome, ApplyOutcome::kCounted);
      ASSERT_EQ(table->apply(immediate, kPeer, 0).outcome, ApplyOutcome::kTargetReached);
    }
  });
  for (uint32_t round = 1; round <= kRounds; ++round) {
    const SlotExtents slots = allocate(*table, 1);
    const SlotIndex slot = slots.at(0);
    table->arm(slot, kPeer, 2 * (round % 256 + 1));
    const uint32_t immediate = immediate_for(*table, slot, round % 256 + 1);
    advertised.store(uint64_t{round} << 32 | immediate, std::memory_order_relaxed);
    while (table->remaining(slot) != 0) std::this_thread::yield();
    table->release(slots);
  }
  data.join();
}

// Owners come and go on other threads while the data thread counts and meets late immediates.
TEST(CounterTable, AllocatingAndReleasingMayRunBesideTheDataThread) {
  auto table = make_table(32);
  const SlotIndex mine = allocate(*table, 1).at(0);
  table->arm(mine, kPeer, UINT32_MAX);
  std::atomic<bool> stop{false};
  std::thread owners[2];
  for (auto& owner : owners) {
    owner = std::thread([&] {
      for (int round = 0; round < 5000; ++round) {
        auto slots = table->allocate(8);
        if (!slots.is_ok()) continue;
        for (uint32_t i = 0; i < 8; ++i) table->arm(slots->at(i), kOther, 5);
        table->release(*slots);
      }
    });
  }
  std::thread data([&] {
    const uint32_t one = immediate_for(*table, mine, 1);
    while (!stop.load()) {
      EXPECT_TRUE(table->apply(one, kPeer, 0).was_counted());
      // Of a slot that others hold, or nobody does: never counted for this peer.
      EXPECT_FALSE(table->apply(pack({SlotIndex(9), 3, 1}), kPeer, 0).was_counted());
    }
  });
  for (auto& owner : owners) owner.join();
  stop.store(true);
  data.join();
  EXPECT_EQ(table->num_free(), 31u);
}

using CounterTableDeathTest = ::testing::Test;

TEST(CounterTableDeathTest, MisuseAsserts) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  auto table = make_table(4);
  const SlotExtents slots = allocate(*table, 1);
  table->arm(slots.at(0), kPeer, 1);
  EXPECT_DEATH(table->arm(slots.at(0), kPeer, 1), "unarmed slot can be armed");
  EXPECT_DEATH(table->arm(SlotIndex(3), kPeer, 1), "unarmed slot can be armed");
  EXPECT_DEATH((void)table->apply(0, kPeer, kMaxPathsPerPeer), "path ordinal");
  EXPECT_DEATH((void)slots.at(1), "past the end of its extents");
  table->release(slots);
  EXPECT_DEATH(table->release(slots), "released twice");
}

}  // namespace
}  // namespace baton::counter
