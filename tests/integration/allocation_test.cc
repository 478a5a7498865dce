// The data path allocates nothing after start-up: counted with operator new of the whole process
// between the first tick and the last gate.
#include <gtest/gtest.h>

#include "tests/integration/rig.h"
#include "tests/support/alloc_count.h"
#include "tests/support/test_seed.h"

namespace baton_test {
namespace {

class Allocation : public testing::TestWithParam<const char*> {};

TEST_P(Allocation, NoneFromTheFirstTickToTheLastGateButOne) {
  // A heartbeat in the counted stretch would be the control thread's, not the data path's: they
  // come once a minute here.
  ContextPair pair({GetParam(), true, test_seed(), baton::ProgressMode::kThread, 60000});
  PoolShape shape;
  shape.layers = 24;
  shape.num_blocks = 128;
  Pool source(shape);
  Pool target(shape);
  source.memory().fill_pattern(test_seed());
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  pair.connect();
  const baton::TokenRange tokens{0, 64 * 16};
  auto word = require(pair.prefill().create_progress_word(), "create_progress_word");
  const auto blocks = pick_blocks(64, 128, test_seed());
  // The first hand-off warms up what grows once; the second is counted.
  for (int round = 0; round < 2; ++round) {
    const uint64_t base = word.value();
    baton::GrantRequest request;
    request.peer = pair.prefill_peer();
    request.cache = target.cache();
    request.source_cache = "kv";
    request.tag = "r" + std::to_string(round);
    request.tokens = tokens;
    request.block_lists = {blocks};
    auto grant = require(pair.decode().grant(request), "grant");
    const auto offer = require(pair.prefill().wait_offer(request.tag, 10000), "wait_offer");
    baton::PushRequest push;
    push.grant = offer.id;
    push.cache = source.cache();
    push.block_lists = {blocks};
    auto transfer = require(pair.prefill().push(push), "push");
    require_ok(transfer.submit_chunk({tokens, &word, base}), "submit_chunk");
    std::vector<baton::Gate> gates;
    for (uint32_t layer = 0; layer < shape.layers; ++layer) gates.push_back(grant.gate(layer));
    word.tick();
    ASSERT_TRUE(gates[0].wait(10000).is_ok());
    const uint64_t before = allocations_of_process();
    // The end of a hand-off sends messages and makes events, which allocate: the last layer is not
    // counted.
    for (uint32_t layer = 1; layer + 1 < shape.layers; ++layer) {
      word.tick();
      while (!gates[layer].is_open()) {
      }
    }
    const uint64_t after = allocations_of_process();
    word.tick();
    require_ok(transfer.seal(), "seal");
    ASSERT_TRUE(grant.wait(10000).is_ok());
    ASSERT_TRUE(transfer.wait(10000).is_ok());
    if (round == 1) {
      EXPECT_EQ(after - before, 0u);
    }
  }
}

// The same, pulled.
TEST_P(Allocation, NoneOfAPullFromTheFirstTickToTheLastGateButOne) {
  ContextPair pair({GetParam(), true, test_seed(), baton::ProgressMode::kThread, 60000});
  PoolShape shape;
  shape.layers = 24;
  shape.num_blocks = 128;
  Pool source(shape);
  Pool target(shape);
  source.memory().fill_pattern(test_seed());
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  pair.connect();
  const baton::TokenRange tokens{0, 64 * 16};
  auto word = require(pair.prefill().create_progress_word(), "create_progress_word");
  const auto blocks = pick_blocks(64, 128, test_seed());
  for (int round = 0; round < 2; ++round) {
    const std::string tag = "r" + std::to_string(round);
    const uint64_t base = word.value();
    baton::ReadGrantRequest request;
    request.peer = pair.decode_peer();
    request.cache = source.cache();
    request.target_cache = "kv";
    request.tag = tag;
    request.tokens = tokens;
    request.block_lists = {blocks};
    auto grant = require(pair.prefill().offer_read(request), "offer_read");
    const auto offer = require(pair.decode().wait_offer(tag, 10000), "wait_offer");
    auto pull = require(pair.decode().pull({offer.id, target.cache(), {blocks}, 0}), "pull");
    require_ok(grant.submit_chunk({tokens, &word, base}), "submit_chunk");
    std::vector<baton::Gate> gates;
    for (uint32_t layer = 0; layer < shape.layers; ++layer) gates.push_back(pull.gate(layer));
    word.tick();
    ASSERT_TRUE(gates[0].wait(10000).is_ok());
    const uint64_t before = allocations_of_process();
    for (uint32_t layer = 1; layer + 1 < shape.layers; ++layer) {
      word.tick();
      while (!gates[layer].is_open()) {
      }
    }
    const uint64_t after = allocations_of_process();
    word.tick();
    ASSERT_TRUE(pull.wait(10000).is_ok());
    ASSERT_TRUE(grant.wait(10000).is_ok());
    if (round == 1) {
      EXPECT_EQ(after - before, 0u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, Allocation, testing::Values("tcp", "loopback"),
                         [](const auto& transport) { return std::string(transport.param); });

}  // namespace
}  // namespace baton_test
