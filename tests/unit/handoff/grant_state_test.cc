#include "src/handoff/grant_state.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "src/section/section_table.h"

namespace baton::handoff {
namespace {

constexpr uint32_t kLayers = 4;

// As ContextImpl::arm_layers leaves it: one slot and one gate a layer.
std::unique_ptr<GrantState> make_grant(counter::CounterTable* counters) {
  auto grant = std::make_unique<GrantState>();
  grant->id = GrantId(12);
  grant->peer = PeerId(3);
  grant->tag = "req-1";
  grant->counters = counters;
  grant->granted_ns = 5;
  grant->num_layers = kLayers;
  grant->layers = std::make_unique<GrantState::Layer[]>(kLayers);
  grant->all = std::make_shared<counter::GateState>(1, 5);
  grant->slots = *counters->allocate(kLayers);
  for (uint32_t i = 0; i < kLayers; ++i) {
    grant->layers[i].slot = grant->slots.at(i);
    grant->layers[i].units = 10 + i;
    grant->layers[i].gate = std::make_shared<counter::GateState>(1, 5);
    counters->arm(grant->layers[i].slot, grant->peer, grant->layers[i].units);
  }
  return grant;
}

class GrantStateTest : public testing::Test {
 protected:
  GrantStateTest()
      : counters_(counter::CounterTable::create(64).value()), grant_(make_grant(counters_.get())) {}

  std::unique_ptr<counter::CounterTable> counters_;
  std::unique_ptr<GrantState> grant_;
};

TEST_F(GrantStateTest, ALayerThatArrivedOpensItsGateAndNoOther) {
  grant_->layer_arrived(2, 77);
  EXPECT_TRUE(grant_->layers[2].gate->poll().is_ok());
  EXPECT_FALSE(grant_->layers[1].gate->is_open());
  EXPECT_FALSE(grant_->all->is_open());
  const GrantRecord record = grant_->record();
  EXPECT_EQ(record.layers[2].placed_ns, 77);
  EXPECT_EQ(record.layers[2].opened_ns, 77);
  EXPECT_EQ(record.layers[1].opened_ns, 0);
}

TEST_F(GrantStateTest, ACancelFailsEveryGateThatIsStillClosed) {
  grant_->layer_arrived(0, 6);
  EXPECT_TRUE(grant_->begin_cancel(Status(StatusCode::kPeerLost, "dead"), 8));
  EXPECT_TRUE(grant_->layers[0].gate->poll().is_ok()) << "what arrived stays arrived";
  for (uint32_t i = 1; i < kLayers; ++i) {
    EXPECT_EQ(grant_->layers[i].gate->poll(), Status(StatusCode::kPeerLost, "dead"));
    EXPECT_EQ(grant_->layers[i].gate->opened_ns(), 8);
  }
  EXPECT_EQ(grant_->all->poll().code(), StatusCode::kPeerLost);
  EXPECT_EQ(grant_->life.state(), State::kCancelling);
  EXPECT_FALSE(grant_->begin_cancel(Status(StatusCode::kCancelled, "late"), 9));
  EXPECT_EQ(grant_->all->poll().code(), StatusCode::kPeerLost);
}

TEST_F(GrantStateTest, ACancelAfterTheEndTouchesNoGate) {
  for (uint32_t i = 0; i < kLayers; ++i) grant_->layer_arrived(i, 6);
  ASSERT_TRUE(grant_->life.complete(7));
  EXPECT_FALSE(grant_->begin_cancel(Status(StatusCode::kCancelled, "late"), 8));
  EXPECT_FALSE(grant_->all->is_open()) << "the data thread opens it, with what it decided";
  EXPECT_TRUE(grant_->life.status().is_ok());
}

TEST_F(GrantStateTest, ARangeGrantHasOneGateAndNoSlots) {
  GrantState ranges;
  ranges.is_ranges = true;
  ranges.all = std::make_shared<counter::GateState>(1, 0);
  EXPECT_TRUE(ranges.begin_cancel(Status(StatusCode::kCancelled, "done"), 2));
  EXPECT_EQ(ranges.all->poll().code(), StatusCode::kCancelled);
  ranges.give_back();
}

TEST_F(GrantStateTest, GivesSlotsAndSectionsBack) {
  uint8_t memory[64];
  section::SectionTable sections;
  SectionOptions options;
  options.address = memory;
  options.length_bytes = sizeof(memory);
  auto record = *sections.add(options);
  record->open();
  grant_->uses.push_back(sections.acquire(record->id()).value());
  EXPECT_EQ(counters_->num_free(), 64u - kLayers);
  EXPECT_EQ(record->users(), 1u);
  grant_->give_back();
  EXPECT_EQ(counters_->num_free(), 64u);
  EXPECT_EQ(record->users(), 0u);
}

TEST_F(GrantStateTest, RecordsWhatWasCounted) {
  grant_->total_bytes = 4096;
  grant_->units_counted = 9;
  grant_->layers[1].first_ns = 20;
  const GrantRecord record = grant_->record();
  EXPECT_EQ(record.units, 9u);
  EXPECT_EQ(record.bytes, 4096u);
  EXPECT_EQ(record.granted_ns, 5);
  EXPECT_EQ(record.ended_ns, 0);
  ASSERT_EQ(record.layers.size(), kLayers);
  EXPECT_EQ(record.layers[1].first_ns, 20);
  EXPECT_EQ(record.layers[3].layer, 3u);
  EXPECT_EQ(record.layers[3].units, 13u);
}

TEST_F(GrantStateTest, DescribesItself) {
  EXPECT_EQ(grant_->describe(), "grant 12 (tag \"req-1\") to peer 3");
  grant_->tag.clear();
  EXPECT_EQ(grant_->describe(), "grant 12 to peer 3");
}

// The data thread completes while callers and the control thread cancel: one decides, and every
// gate tells the same.
TEST_F(GrantStateTest, ConcurrentEndsAgree) {
  constexpr int kCancellers = 3;
  constexpr size_t kRounds = 1000;
  std::vector<std::unique_ptr<GrantState>> grants;
  std::vector<std::atomic<int>> wins(kRounds);
  auto counters = counter::CounterTable::create(kRounds * kLayers).value();
  for (size_t round = 0; round < kRounds; ++round) grants.push_back(make_grant(counters.get()));
  std::barrier start(kCancellers + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < kCancellers; ++i) {
    threads.emplace_back([&, i] {
      for (size_t round = 0; round < kRounds; ++round) {
        start.arrive_and_wait();
        const Status why(StatusCode::kCancelled, std::to_string(i));
        if (grants[round]->begin_cancel(why, 2)) ++wins[round];
      }
    });
  }
  for (size_t round = 0; round < kRounds; ++round) {
    GrantState& grant = *grants[round];
    start.arrive_and_wait();
    for (uint32_t layer = 0; layer < kLayers; ++layer) grant.layer_arrived(layer, 1);
    if (grant.life.complete(1)) {
      ++wins[round];
      grant.all->slot_done(1);
    }
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t round = 0; round < kRounds; ++round) {
    const GrantState& grant = *grants[round];
    ASSERT_EQ(wins[round], 1) << "round " << round;
    ASSERT_TRUE(grant.all->is_open());
    EXPECT_EQ(grant.all->poll(), grant.life.status());
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      const Status gate = grant.layers[layer].gate->poll();
      EXPECT_TRUE(gate.is_ok() || gate == grant.life.status()) << gate.to_string();
    }
  }
}

}  // namespace
}  // namespace baton::handoff
