// PoolsTest: two connected Contexts, each with a pool that it publishes as "kv", and what a
// hand-off of the first tokens has to bring about.
//
// Thread rule: one thread.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"

namespace baton_test {

class PoolsTest : public testing::Test {
 protected:
  explicit PoolsTest(uint32_t tokens) {
    const uint64_t seed = test_seed();
    source_.memory().fill_pattern(seed);
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    pair_.connect();
    const uint32_t blocks = blocks_for({0, tokens}, source_.shape().block_tokens);
    from_ = pick_blocks(blocks, source_.shape().num_blocks, seed + 1);
    to_ = pick_blocks(blocks, target_.shape().num_blocks, seed + 2);
    expected_ = expected_target(source_, from_, target_, to_, {0, tokens}, source_.memory().data());
  }

  Pool source_{PoolShape{}};
  Pool target_{PoolShape{}};
  ContextPair pair_{ContextPair::Options{}};
  std::vector<uint32_t> from_;  // blocks
  std::vector<uint32_t> to_;
  std::vector<uint8_t> expected_;  // the target's bytes after it
};

}  // namespace baton_test
