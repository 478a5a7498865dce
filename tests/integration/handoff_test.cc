// Push hand-offs between two Contexts of one process, over each transport: every byte, every gate,
// every count.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <random>

#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::TokenOrder;
using baton::TokenRange;

struct Way {
  const char* transport;
  bool ordered;
};

class Handoff : public testing::TestWithParam<Way> {};

struct Scenario {
  PoolShape source;
  PoolShape target;
  TokenRange tokens;
  std::vector<uint32_t> chunk_ends;
  bool tick_all = true;  // false: seal sends what never ticked
};

void run(const Way& way, const Scenario& scenario, uint64_t seed) {
  ContextPair pair({way.transport, way.ordered, seed});
  Pool source(scenario.source);
  Pool target(scenario.target);
  source.memory().fill_pattern(seed);
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  pair.connect();
  const auto source_blocks = pick_blocks(blocks_for(scenario.tokens, scenario.source.block_tokens),
                                         scenario.source.num_blocks, seed + 1);
  const auto target_blocks = pick_blocks(blocks_for(scenario.tokens, scenario.target.block_tokens),
                                         scenario.target.num_blocks, seed + 2);
  const auto expected = expected_target(source, source_blocks, target, target_blocks,
                                        scenario.tokens, source.memory().data());

  baton::GrantRequest grant_request;
  grant_request.peer = pair.prefill_peer();
  grant_request.cache = target.cache();
  grant_request.source_cache = "kv";
  grant_request.tag = "request-1";
  grant_request.tokens = scenario.tokens;
  grant_request.block_lists = {target_blocks};
  auto grant = require(pair.decode().grant(grant_request), "grant");
  const auto offer = require(pair.prefill().wait_offer("request-1", 10000), "wait_offer");
  EXPECT_EQ(offer.id, grant.id());
  EXPECT_EQ(offer.tokens, scenario.tokens);
  EXPECT_EQ(offer.num_layers, scenario.source.layers);

  baton::PushRequest push_request;
  push_request.grant = offer.id;
  push_request.cache = source.cache();
  push_request.block_lists = {source_blocks};
  auto transfer = require(pair.prefill().push(push_request), "push");
  auto word = require(pair.prefill().create_progress_word(), "create_progress_word");
  uint32_t begin = scenario.tokens.begin;
  uint64_t base = 0;
  for (const uint32_t end : scenario.chunk_ends) {
    baton::ChunkPlan chunk;
    chunk.tokens = {begin, end};
    chunk.word = &word;
    chunk.base = base;
    require_ok(transfer.submit_chunk(chunk), "submit_chunk");
    if (scenario.tick_all) {
      for (uint32_t layer = 0; layer < scenario.source.layers; ++layer) word.tick();
    }
    base += scenario.source.layers;
    begin = end;
  }
  require_ok(transfer.seal(), "seal");

  for (uint32_t layer = 0; layer < grant.num_layers(); ++layer) {
    ASSERT_TRUE(grant.gate(layer).wait(20000).is_ok()) << grant.gate(layer).poll().to_string();
    EXPECT_GT(grant.gate(layer).opened_ns(), 0);
  }
  EXPECT_TRUE(grant.all().wait(20000).is_ok());
  EXPECT_TRUE(grant.wait(20000).is_ok()) << grant.status().to_string();
  EXPECT_TRUE(transfer.wait(20000).is_ok()) << transfer.status().to_string();
  EXPECT_EQ(grant.state(), State::kDone);
  EXPECT_EQ(transfer.state(), State::kDone);
  EXPECT_EQ(compare_bytes(expected, target.memory().bytes()), "");
  EXPECT_EQ(target.memory().check_guards(), "");
  EXPECT_EQ(source.memory().check_guards(), "");

  const auto sent = transfer.record();
  const auto placed = grant.record();
  EXPECT_EQ(sent.units, offer.units);
  EXPECT_EQ(placed.units, offer.units);
  EXPECT_EQ(sent.bytes, placed.bytes);
  for (const auto& layer : sent.layers) {
    EXPECT_GT(layer.posted_ns, 0) << "layer " << layer.layer;
    EXPECT_GE(layer.posted_ns, layer.ticked_ns);
  }
  EXPECT_TRUE(transfer.failed_blocks().empty());
  EXPECT_TRUE(next_event(pair.decode(), EventKind::kGrantEnded).status.is_ok());
  EXPECT_TRUE(next_event(pair.prefill(), EventKind::kTransferEnded).status.is_ok());
}

TEST_P(Handoff, OneChunk) {
  Scenario scenario;
  scenario.tokens = {0, 100};
  scenario.chunk_ends = {100};
  run(GetParam(), scenario, test_seed());
}

TEST_P(Handoff, ChunksThatEndWithinBlocks) {
  Scenario scenario;
  scenario.tokens = {0, 100};
  scenario.chunk_ends = {7, 50, 64, 100};
  run(GetParam(), scenario, test_seed());
}

TEST_P(Handoff, PrefixHitAndPartialLastBlock) {
  Scenario scenario;
  scenario.tokens = {37, 90};
  scenario.chunk_ends = {60, 90};
  run(GetParam(), scenario, test_seed());
}

TEST_P(Handoff, SealSendsWhatNeverTicked) {
  Scenario scenario;
  scenario.tokens = {0, 64};
  scenario.chunk_ends = {32};
  scenario.tick_all = false;
  run(GetParam(), scenario, test_seed());
}

TEST_P(Handoff, LayoutsThatDiffer) {
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 6; ++round) {
    Scenario scenario;
    scenario.source.block_tokens = 1u << (random() % 6);
    scenario.target.block_tokens = 1u << (random() % 6);
    scenario.source.num_blocks = scenario.target.num_blocks = 256;
    scenario.source.order = random() % 2 == 0 ? TokenOrder::kNHD : TokenOrder::kHND;
    scenario.target.order = random() % 2 == 0 ? TokenOrder::kNHD : TokenOrder::kHND;
    scenario.tokens.begin = static_cast<uint32_t>(random() % 50);
    scenario.tokens.end = scenario.tokens.begin + 1 + static_cast<uint32_t>(random() % 150);
    const uint32_t middle = (scenario.tokens.begin + scenario.tokens.end) / 2;
    if (middle > scenario.tokens.begin) scenario.chunk_ends.push_back(middle);
    scenario.chunk_ends.push_back(scenario.tokens.end);
    run(GetParam(), scenario, random());
  }
}

// A writer that Baton does not call wakes nobody. Without anyone who looks at the word, each of the
// layers would wait for the data thread's longest sleep, and the deadline would pass.
TEST_P(Handoff, AWordThatIsWrittenThroughItsAddressIsNoticed) {
  ContextPair pair({GetParam().transport, GetParam().ordered, test_seed()});
  PoolShape shape;
  shape.layers = 64;
  Pool source(shape);
  Pool target(shape);
  source.memory().fill_pattern(test_seed());
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  pair.connect();
  const TokenRange tokens{0, 32};
  const auto expected =
      expected_target(source, {1, 2}, target, {4, 3}, tokens, source.memory().data());
  baton::GrantRequest request;
  request.peer = pair.prefill_peer();
  request.cache = target.cache();
  request.source_cache = "kv";
  request.tag = "r";
  request.tokens = tokens;
  request.block_lists = {{4, 3}};
  request.deadline_ms = 20000;
  auto grant = require(pair.decode().grant(request), "grant");
  const auto offer = require(pair.prefill().wait_offer("r", 10000), "wait_offer");
  baton::PushRequest push;
  push.grant = offer.id;
  push.cache = source.cache();
  push.block_lists = {{1, 2}};
  auto transfer = require(pair.prefill().push(push), "push");
  auto word = require(pair.prefill().create_progress_word(), "create_progress_word");
  require_ok(transfer.submit_chunk({tokens, &word, 0}), "submit_chunk");
  word.tick();
  ASSERT_TRUE(grant.gate(0).wait(20000).is_ok());
  // The address is taken while the data thread may sleep already.
  const std::atomic_ref<uint64_t> foreign(*word.address());
  for (uint32_t layer = 1; layer < shape.layers; ++layer) {
    foreign.store(layer + 1, std::memory_order_release);
    ASSERT_TRUE(grant.gate(layer).wait(20000).is_ok())
        << "layer " << layer << ": " << grant.gate(layer).poll().to_string();
  }
  require_ok(transfer.seal(), "seal");
  EXPECT_TRUE(grant.wait(20000).is_ok()) << grant.status().to_string();
  EXPECT_TRUE(transfer.wait(20000).is_ok()) << transfer.status().to_string();
  EXPECT_EQ(compare_bytes(expected, target.memory().bytes()), "");
  EXPECT_EQ(target.memory().check_guards(), "");
}

TEST_P(Handoff, ManyAtOnceInterleaved) {
  constexpr uint32_t kRequests = 16;
  ContextPair pair({GetParam().transport, GetParam().ordered, test_seed()});
  PoolShape shape;
  shape.num_blocks = kRequests * 4;
  Pool source(shape);
  Pool target(shape);
  source.memory().fill_pattern(test_seed());
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  pair.connect();
  const auto source_order = pick_blocks(shape.num_blocks, shape.num_blocks, test_seed() + 1);
  const auto target_order = pick_blocks(shape.num_blocks, shape.num_blocks, test_seed() + 2);
  const TokenRange tokens{0, 64};
  std::vector<baton::Grant> grants;
  std::vector<baton::Transfer> transfers;
  std::vector<uint8_t> expected(target.memory().data(),
                                target.memory().data() + target.memory().size());
  auto word = require(pair.prefill().create_progress_word(), "create_progress_word");
  for (uint32_t i = 0; i < kRequests; ++i) {
    const std::vector<uint32_t> from(source_order.begin() + i * 4,
                                     source_order.begin() + i * 4 + 4);
    const std::vector<uint32_t> to(target_order.begin() + i * 4, target_order.begin() + i * 4 + 4);
    baton::GrantRequest request;
    request.peer = pair.prefill_peer();
    request.cache = target.cache();
    request.source_cache = "kv";
    request.tag = "request-" + std::to_string(i);
    request.tokens = tokens;
    request.block_lists = {to};
    grants.push_back(require(pair.decode().grant(request), "grant"));
    const auto offer = require(pair.prefill().wait_offer(request.tag, 10000), "wait_offer");
    baton::PushRequest push;
    push.grant = offer.id;
    push.cache = source.cache();
    push.block_lists = {from};
    transfers.push_back(require(pair.prefill().push(push), "push"));
    require_ok(transfers.back().submit_chunk({tokens, &word, 0}), "submit_chunk");
    for (uint32_t layer = 0; layer < shape.layers; ++layer) {
      for (uint32_t tensor = 0; tensor < 2; ++tensor) {
        for (uint32_t token = 0; token < 64; ++token) {
          for (uint32_t head = 0; head < shape.heads; ++head) {
            std::memcpy(
                expected.data() + target.row_offset(layer, tensor, to, 0, token, head),
                source.memory().data() + source.row_offset(layer, tensor, from, 0, token, head),
                shape.row_bytes());
          }
        }
      }
    }
  }
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    word.tick();
    for (auto& grant : grants) ASSERT_TRUE(grant.gate(layer).wait(20000).is_ok());
    if (layer + 1 < shape.layers) {
      EXPECT_FALSE(grants[0].gate(layer + 1).is_open());
    }
  }
  for (auto& transfer : transfers) {
    require_ok(transfer.seal(), "seal");
    EXPECT_TRUE(transfer.wait(20000).is_ok());
  }
  for (auto& grant : grants) EXPECT_TRUE(grant.wait(20000).is_ok());
  EXPECT_EQ(compare_bytes(expected, target.memory().bytes()), "");
}

INSTANTIATE_TEST_SUITE_P(Transports, Handoff,
                         testing::Values(Way{"tcp", true}, Way{"loopback", true},
                                         Way{"loopback", false}),
                         [](const auto& way) {
                           return std::string(way.param.transport) +
                                  (way.param.ordered ? "_ordered" : "_unordered");
                         });

}  // namespace
}  // namespace baton_test
