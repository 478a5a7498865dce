// Push hand-offs between two Contexts of one process, over each transport: every byte, every gate,
// every count.
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>

#include "tests/integration/plugin_module.h"
#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::TokenOrder;
using baton::TokenRange;

struct Way {
  const char* name;
  const char* transport;
  bool ordered = true;
  const char* bind_host = "127.0.0.1";
  const char* plugin_file = nullptr;
  uint32_t paths = 1;

  ContextPair::Options options(uint64_t seed) const {
    ContextPair::Options out{transport, ordered, seed};
    out.bind_host = bind_host;
    out.paths = paths;
    if (plugin_file != nullptr) out.plugin_files = {plugin_file};
    return out;
  }
};

bool can_bind(const char* host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host, nullptr, &hints, &found) != 0) return false;
  const int fd = ::socket(found->ai_family, SOCK_STREAM, 0);
  const bool bound = fd >= 0 && ::bind(fd, found->ai_addr, found->ai_addrlen) == 0;
  if (fd >= 0) ::close(fd);
  ::freeaddrinfo(found);
  return bound;
}

class Handoff : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (!can_bind(GetParam().bind_host))
      GTEST_SKIP() << "this machine has no loopback address " << GetParam().bind_host;
  }
};

struct Scenario {
  PoolShape source;
  PoolShape target;
  TokenRange tokens;
  std::vector<uint32_t> chunk_ends;
  bool tick_all = true;  // false: seal sends what never ticked
};

// One hand-off of a scenario: set up, fed, and looked at.
class Run {
 public:
  Run(const Way& way, const Scenario& scenario, uint64_t seed)
      : scenario_(scenario),
        pair_(way.options(seed)),
        source_(scenario.source),
        target_(scenario.target),
        source_blocks_(pick_blocks(blocks_for(scenario.tokens, scenario.source.block_tokens),
                                   scenario.source.num_blocks, seed + 1)),
        target_blocks_(pick_blocks(blocks_for(scenario.tokens, scenario.target.block_tokens),
                                   scenario.target.num_blocks, seed + 2)) {
    source_.memory().fill_pattern(seed);
    source_.publish(pair_.prefill(), "kv");
    target_.publish(pair_.decode(), "kv");
    pair_.connect();
    expected_ = expected_target(source_, source_blocks_, target_, target_blocks_, scenario.tokens,
                                source_.memory().data());
  }

  void open() {
    baton::GrantRequest grant_request;
    grant_request.peer = pair_.prefill_peer();
    grant_request.cache = target_.cache();
    grant_request.source_cache = "kv";
    grant_request.tag = "request-1";
    grant_request.tokens = scenario_.tokens;
    grant_request.block_lists = {target_blocks_};
    grant_ = require(pair_.decode().grant(grant_request), "grant");
    offer_ = require(pair_.prefill().wait_offer("request-1", 10000), "wait_offer");
    EXPECT_EQ(offer_.id, grant_.id());
    EXPECT_EQ(offer_.tokens, scenario_.tokens);
    EXPECT_EQ(offer_.num_layers, scenario_.source.layers);
    baton::PushRequest push_request;
    push_request.grant = offer_.id;
    push_request.cache = source_.cache();
    push_request.block_lists = {source_blocks_};
    transfer_ = require(pair_.prefill().push(push_request), "push");
  }

  void feed() {
    auto word = require(pair_.prefill().create_progress_word(), "create_progress_word");
    uint32_t begin = scenario_.tokens.begin;
    uint64_t base = 0;
    for (const uint32_t end : scenario_.chunk_ends) {
      baton::ChunkPlan chunk;
      chunk.tokens = {begin, end};
      chunk.word = &word;
      chunk.base = base;
      require_ok(transfer_.submit_chunk(chunk), "submit_chunk");
      if (scenario_.tick_all) {
        for (uint32_t layer = 0; layer < scenario_.source.layers; ++layer) word.tick();
      }
      base += scenario_.source.layers;
      begin = end;
    }
    require_ok(transfer_.seal(), "seal");
  }

  void expect_done() {
    for (uint32_t layer = 0; layer < grant_.num_layers(); ++layer) {
      ASSERT_TRUE(grant_.gate(layer).wait(20000).is_ok()) << grant_.gate(layer).poll().to_string();
      EXPECT_GT(grant_.gate(layer).opened_ns(), 0);
    }
    EXPECT_TRUE(grant_.all().wait(20000).is_ok());
    EXPECT_TRUE(grant_.wait(20000).is_ok()) << grant_.status().to_string();
    EXPECT_TRUE(transfer_.wait(20000).is_ok()) << transfer_.status().to_string();
    EXPECT_EQ(grant_.state(), State::kDone);
    EXPECT_EQ(transfer_.state(), State::kDone);
    EXPECT_EQ(compare_bytes(expected_, target_.memory().bytes()), "");
    EXPECT_EQ(target_.memory().check_guards(), "");
    EXPECT_EQ(source_.memory().check_guards(), "");
  }

  void expect_records() {
    const auto sent = transfer_.record();
    const auto placed = grant_.record();
    EXPECT_EQ(sent.units, offer_.units);
    EXPECT_EQ(placed.units, offer_.units);
    EXPECT_EQ(sent.bytes, placed.bytes);
    for (const auto& layer : sent.layers) {
      EXPECT_GT(layer.posted_ns, 0) << "layer " << layer.layer;
      EXPECT_GE(layer.posted_ns, layer.ticked_ns);
    }
    EXPECT_TRUE(transfer_.failed_blocks().empty());
    EXPECT_TRUE(next_event(pair_.decode(), EventKind::kGrantEnded).status.is_ok());
    EXPECT_TRUE(next_event(pair_.prefill(), EventKind::kTransferEnded).status.is_ok());
  }

 private:
  const Scenario scenario_;
  ContextPair pair_;
  Pool source_;
  Pool target_;
  const std::vector<uint32_t> source_blocks_;
  const std::vector<uint32_t> target_blocks_;
  std::vector<uint8_t> expected_;
  baton::Grant grant_;
  baton::GrantOffer offer_;
  baton::Transfer transfer_;
};

void run(const Way& way, const Scenario& scenario, uint64_t seed) {
  Run handoff(way, scenario, seed);
  handoff.open();
  handoff.feed();
  handoff.expect_done();
  handoff.expect_records();
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
  ContextPair pair(GetParam().options(test_seed()));
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
  ContextPair pair(GetParam().options(test_seed()));
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

INSTANTIATE_TEST_SUITE_P(
    Transports, Handoff,
    testing::Values(Way{"tcp", "tcp"}, Way{"tcp6", "tcp", true, "::1"},
                    Way{"tcp_from_a_file", kModuleName, true, "127.0.0.1", BATON_TEST_MODULE_FILE},
                    Way{"loopback_ordered", "loopback"},
                    Way{"loopback_unordered", "loopback", false},
                    Way{"tcp_over_four_paths", "tcp", true, "127.0.0.1", nullptr, 4},
                    Way{"loopback_over_three_paths", "loopback", true, "127.0.0.1", nullptr, 3}),
    [](const auto& way) { return std::string(way.param.name); });

}  // namespace
}  // namespace baton_test
