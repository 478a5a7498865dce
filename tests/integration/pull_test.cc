// Pulled hand-offs between Contexts of one process, over each transport: every byte, every gate,
// every count; several readers of one source.
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "baton/plugin/plugin.h"
#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::State;
using baton::StatusCode;
using baton::TokenOrder;
using baton::TokenRange;

struct Way {
  const char* name;
  const char* transport;
  bool ordered = true;
  uint32_t paths = 1;

  ContextPair::Options options(uint64_t seed) const {
    ContextPair::Options out{transport, ordered, seed};
    out.paths = paths;
    return out;
  }
};

struct Scenario {
  PoolShape source;
  PoolShape target;
  TokenRange tokens;
  std::vector<uint32_t> chunk_ends;
  bool tick_all = true;  // false: seal tells what never ticked
};

// One hand-off of a scenario: offered, pulled, fed, and looked at.
class OnePull {
 public:
  OnePull(const Way& way, const Scenario& scenario, uint64_t seed)
      : OnePull(way.options(seed), scenario, seed) {}
  OnePull(const ContextPair::Options& options, const Scenario& scenario, uint64_t seed)
      : scenario_(scenario),
        pair_(options),
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

  void offer() {
    baton::ReadGrantRequest request;
    request.peer = pair_.decode_peer();
    request.cache = source_.cache();
    request.target_cache = "kv";
    request.tag = "request-1";
    request.tokens = scenario_.tokens;
    request.block_lists = {source_blocks_};
    grant_ = require(pair_.prefill().offer_read(request), "offer_read");
  }

  void pull() {
    const auto offer = require(pair_.decode().wait_offer("request-1", 10000), "wait_offer");
    EXPECT_EQ(offer.id, grant_.id());
    EXPECT_TRUE(offer.is_read);
    EXPECT_FALSE(offer.is_ranges);
    EXPECT_EQ(offer.tokens, scenario_.tokens);
    EXPECT_EQ(offer.num_layers, scenario_.source.layers);
    EXPECT_EQ(offer.target_cache, target_.cache());
    baton::PullRequest request;
    request.grant = offer.id;
    request.cache = target_.cache();
    request.block_lists = {target_blocks_};
    pull_ = require(pair_.decode().pull(request), "pull");
    units_ = offer.units;
  }

  baton::GrantRecord record() const { return pull_.record(); }

  void feed() {
    auto word = require(pair_.prefill().create_progress_word(), "create_progress_word");
    uint32_t begin = scenario_.tokens.begin;
    uint64_t base = 0;
    for (const uint32_t end : scenario_.chunk_ends) {
      require_ok(grant_.submit_chunk({{begin, end}, &word, base}), "submit_chunk");
      for (uint32_t i = 0; scenario_.tick_all && i < scenario_.source.layers; ++i) word.tick();
      base += scenario_.source.layers;
      begin = end;
    }
    require_ok(grant_.seal(), "seal");
  }

  void expect_done() {
    for (uint32_t layer = 0; layer < pull_.num_layers(); ++layer) {
      ASSERT_TRUE(pull_.gate(layer).wait(20000).is_ok()) << pull_.gate(layer).poll().to_string();
      EXPECT_GT(pull_.gate(layer).opened_ns(), 0);
    }
    EXPECT_TRUE(pull_.all().wait(20000).is_ok());
    EXPECT_TRUE(pull_.wait(20000).is_ok()) << pull_.status().to_string();
    EXPECT_TRUE(grant_.wait(20000).is_ok()) << grant_.status().to_string();
    EXPECT_EQ(pull_.state(), State::kDone);
    EXPECT_EQ(grant_.state(), State::kDone);
    EXPECT_EQ(compare_bytes(expected_, target_.memory().bytes()), "");
    EXPECT_EQ(target_.memory().check_guards(), "");
    EXPECT_EQ(source_.memory().check_guards(), "");
    expect_records();
  }

  void expect_records() {
    const auto pulled = pull_.record();
    const auto given = grant_.record();
    EXPECT_EQ(pulled.units, units_);
    EXPECT_EQ(given.units, units_);
    EXPECT_EQ(pulled.bytes, given.bytes);
    EXPECT_GT(given.immediates, 0u);
    ASSERT_EQ(pulled.layers.size(), scenario_.source.layers);
    ASSERT_EQ(given.layers.size(), scenario_.source.layers);
    for (size_t i = 0; i < pulled.layers.size(); ++i) {
      EXPECT_GT(pulled.layers[i].first_ns, 0);
      EXPECT_GE(pulled.layers[i].placed_ns, pulled.layers[i].first_ns);
      EXPECT_GE(given.layers[i].posted_ns, given.layers[i].ticked_ns);
      EXPECT_GT(given.layers[i].ticked_ns, 0);
      EXPECT_EQ(pulled.layers[i].units, given.layers[i].units);
    }
  }

  ContextPair& pair() { return pair_; }
  baton::ReadGrant& grant() { return grant_; }
  baton::Pull& pulled() { return pull_; }
  Pool& source() { return source_; }
  Pool& target() { return target_; }

 private:
  Scenario scenario_;
  ContextPair pair_;
  Pool source_;
  Pool target_;
  std::vector<uint32_t> source_blocks_;
  std::vector<uint32_t> target_blocks_;
  std::vector<uint8_t> expected_;
  baton::ReadGrant grant_;
  baton::Pull pull_;
  uint64_t units_ = 0;
};

class PullHandoff : public testing::TestWithParam<Way> {};

std::string way_name(const testing::TestParamInfo<Way>& way) { return way.param.name; }

INSTANTIATE_TEST_SUITE_P(Transports, PullHandoff,
                         testing::Values(Way{"Tcp", "tcp"}, Way{"Loopback", "loopback"},
                                         Way{"LoopbackUnordered", "loopback", false},
                                         Way{"TcpThreePaths", "tcp", true, 3},
                                         Way{"LoopbackThreePaths", "loopback", true, 3}),
                         way_name);

Scenario plain() {
  Scenario scenario;
  scenario.tokens = {0, 160};
  scenario.chunk_ends = {160};
  return scenario;
}

TEST_P(PullHandoff, OfOneChunk) {
  OnePull run(GetParam(), plain(), test_seed());
  run.offer();
  run.pull();
  run.feed();
  run.expect_done();
}

TEST_P(PullHandoff, TheReaderComesWhenAllIsFinal) {
  OnePull run(GetParam(), plain(), test_seed());
  run.offer();
  run.feed();
  run.pull();
  run.expect_done();
}

// More chunks than may be unfinished: before the reader comes they are finished by their ticks.
TEST_P(PullHandoff, ManyChunksBeforeTheReaderComes) {
  Scenario scenario = plain();
  scenario.tokens = {0, 400};
  scenario.chunk_ends.clear();
  OnePull run(GetParam(), scenario, test_seed());
  run.offer();
  for (uint32_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(wait_until([&] {
      const auto submitted = run.grant().submit_chunk({{2 * i, 2 * i + 2}, nullptr, 0});
      EXPECT_TRUE(submitted.is_ok() || submitted.code() == StatusCode::kBusy)
          << submitted.to_string();
      return submitted.is_ok();
    }));
  }
  require_ok(run.grant().seal(), "seal");
  run.pull();
  run.expect_done();
}

TEST_P(PullHandoff, ChunksWithAPrefixHitThatEndWithinBlocks) {
  Scenario scenario;
  scenario.tokens = {37, 463};
  scenario.chunk_ends = {38, 100, 101, 333, 463};
  OnePull run(GetParam(), scenario, test_seed());
  run.offer();
  run.pull();
  run.feed();
  run.expect_done();
}

TEST_P(PullHandoff, SealTellsWhatNeverTicked) {
  Scenario scenario;
  scenario.tokens = {5, 300};
  scenario.chunk_ends = {100, 200};  // the rest was never submitted
  scenario.tick_all = false;
  OnePull run(GetParam(), scenario, test_seed());
  run.offer();
  run.pull();
  run.feed();
  run.expect_done();
}

TEST_P(PullHandoff, LayoutsThatDiffer) {
  std::mt19937_64 random(test_seed());
  for (const TokenOrder order : {TokenOrder::kNHD, TokenOrder::kHND}) {
    for (const auto& [from, to] : {std::pair{16u, 64u}, std::pair{64u, 16u}, std::pair{24u, 16u}}) {
      Scenario scenario;
      scenario.source.block_tokens = from;
      scenario.target.block_tokens = to;
      scenario.source.order = TokenOrder::kNHD;
      scenario.target.order = order;
      scenario.tokens.begin = static_cast<uint32_t>(random() % 60);
      scenario.tokens.end = scenario.tokens.begin + 60 + static_cast<uint32_t>(random() % 40);
      scenario.chunk_ends = {scenario.tokens.begin + 50, scenario.tokens.end};
      SCOPED_TRACE(std::to_string(from) + " to " + std::to_string(to));
      OnePull run(GetParam(), scenario, random());
      run.offer();
      run.pull();
      run.feed();
      run.expect_done();
    }
  }
}

// A layer's gate opens while later layers are not final.
TEST_P(PullHandoff, GatesOpenLayerByLayer) {
  OnePull run(GetParam(), plain(), test_seed());
  run.offer();
  run.pull();
  auto word = require(run.pair().prefill().create_progress_word(), "create_progress_word");
  require_ok(run.grant().submit_chunk({{0, 160}, &word, 0}), "submit_chunk");
  for (uint32_t layer = 0; layer < 4; ++layer) {
    EXPECT_FALSE(run.pulled().gate(layer).is_open());
    word.tick();
    ASSERT_TRUE(run.pulled().gate(layer).wait(20000).is_ok());
  }
  run.expect_done();
}

// A word whose writer wakes nobody.
TEST_P(PullHandoff, AWordThatIsWrittenDirectly) {
  OnePull run(GetParam(), plain(), test_seed());
  run.offer();
  run.pull();
  auto word = require(run.pair().prefill().create_progress_word(), "create_progress_word");
  require_ok(run.grant().submit_chunk({{0, 160}, &word, 0}), "submit_chunk");
  __atomic_store_n(word.address(), 4, __ATOMIC_RELEASE);
  run.expect_done();
}

TEST_P(PullHandoff, EachSideHasOneEndEvent) {
  OnePull run(GetParam(), plain(), test_seed());
  run.offer();
  run.pull();
  run.feed();
  run.expect_done();
  const auto given = next_event(run.pair().prefill(), EventKind::kGrantEnded);
  EXPECT_EQ(given.grant, run.grant().id());
  EXPECT_EQ(given.tag, "request-1");
  EXPECT_FALSE(given.transfer);
  EXPECT_TRUE(given.status.is_ok());
  const auto pulled = next_event(run.pair().decode(), EventKind::kTransferEnded);
  EXPECT_EQ(pulled.grant, run.grant().id());
  EXPECT_EQ(pulled.transfer, run.pulled().id());
  EXPECT_TRUE(pulled.status.is_ok());
  for (baton::Context* context : {&run.pair().prefill(), &run.pair().decode()}) {
    context->close(1000).ignore();
    baton::Event events[8];
    while (const size_t count = context->poll_events(events)) {
      for (size_t i = 0; i < count; ++i) {
        EXPECT_NE(events[i].kind, EventKind::kGrantEnded);
        EXPECT_NE(events[i].kind, EventKind::kTransferEnded);
      }
    }
  }
}

// The fabric's path 0 is the dialer's end of the first Path, and the first to be given something,
// whatever the machine is doing. It breaks with its n-th post, a read of the reader's or an
// immediate of the source's; the hand-off goes on.
TEST(PullPaths, OneOfThreeDiesInTheMiddle) {
  for (const bool ordered : {true, false}) {
    for (const bool of_source : {true, false}) {
      for (const uint32_t after : {0u, 1u, 5u, 20u}) {
        // Immediates are as few as layers and chunks.
        if (of_source && after == 20) continue;
        SCOPED_TRACE((of_source ? "the source's end after " : "the reader's end after ") +
                     std::to_string(after) + " posts, ordered " + std::to_string(ordered));
        ContextPair::Options options{"loopback", ordered, test_seed()};
        options.paths = 3;
        options.prefill_dials = of_source;
        options.kill_path = 0;
        options.kill_after_posts = after;
        Scenario scenario;
        scenario.source.layers = scenario.target.layers = 12;
        scenario.source.block_tokens = scenario.target.block_tokens = 4;
        scenario.source.num_blocks = scenario.target.num_blocks = 32;
        scenario.tokens = {3, 110};
        scenario.chunk_ends = {20, 50, 109, 110};
        OnePull run(options, scenario, test_seed());
        run.offer();
        run.pull();
        run.feed();
        run.expect_done();
        for (const baton::Context* context : {&run.pair().prefill(), &run.pair().decode()}) {
          EXPECT_TRUE(wait_until([&] { return lost_paths(*context) == 1; }))
              << "it died, on both sides";
        }
        if (!of_source) {  // a read of a layer that cannot be whole without it was lost
          const baton::GrantRecord record = run.record();
          EXPECT_GT(record.layers_read_again, 0u);
          EXPECT_GT(record.settling_ns, 0);
          EXPECT_LT(record.settling_ns, record.ended_ns - record.granted_ns);
        }
      }
    }
  }
}

// ---- several readers

// One source, and readers that pull the same blocks of it.
class Readers {
 public:
  Readers(const Way& way, uint32_t count, uint64_t seed) : source_(shape()) {
    if (std::string(way.transport) == "loopback") {
      baton_loopback_plan plan{};
      baton_loopback_plan_init(&plan);
      plan.seed = seed;
      plan.flags = way.ordered ? BATON_CAP_ORDERED | BATON_CAP_IMM_COVERS_PRIOR : 0u;
      fabric_ = baton_loopback_fabric_create(&plan);
    }
    source_.memory().fill_pattern(seed);
    prefill_ = make(way, "prefill");
    source_.publish(*prefill_, "kv");
    for (uint32_t i = 0; i < count; ++i) {
      auto reader = std::make_unique<Reader>(shape());
      reader->context = make(way, "decode-" + std::to_string(i));
      reader->pool.publish(*reader->context, "kv");
      reader->blocks = pick_blocks(16, 32, seed + i);
      require(reader->context->connect(prefill_->address()), "connect");
      reader->peer = next_event(*prefill_, EventKind::kPeerUp).peer;
      readers_.push_back(std::move(reader));
    }
  }
  ~Readers() {
    readers_.clear();
    prefill_.reset();
    if (fabric_ != nullptr) baton_loopback_fabric_destroy(fabric_);
  }
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  struct Reader {
    explicit Reader(const PoolShape& shape) : pool(shape) {}
    std::unique_ptr<baton::Context> context;
    Pool pool;
    std::vector<uint32_t> blocks;
    baton::PeerId peer;  // as prefill knows it
    baton::ReadGrant grant;
    baton::Pull pull;
  };

  void start() {
    for (auto& reader : readers_) {
      baton::ReadGrantRequest offer;
      offer.peer = reader->peer;
      offer.cache = source_.cache();
      offer.target_cache = "kv";
      offer.tag = "r";
      offer.tokens = kTokens;
      offer.block_lists = {source_blocks()};
      reader->grant = require(prefill_->offer_read(offer), "offer_read");
      const auto offered = require(reader->context->wait_offer("r", 10000), "wait_offer");
      baton::PullRequest request;
      request.grant = offered.id;
      request.cache = reader->pool.cache();
      request.block_lists = {reader->blocks};
      reader->pull = require(reader->context->pull(request), "pull");
    }
    word_ = require(prefill_->create_progress_word(), "create_progress_word");
    for (auto& reader : readers_)
      require_ok(reader->grant.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
  }

  void expect_whole(Reader& reader) {
    EXPECT_TRUE(reader.pull.wait(20000).is_ok()) << reader.pull.status().to_string();
    EXPECT_TRUE(reader.grant.wait(20000).is_ok()) << reader.grant.status().to_string();
    Pool expected(shape());
    const auto bytes = expected_target(source_, source_blocks(), expected, reader.blocks, kTokens,
                                       source_.memory().data());
    EXPECT_EQ(compare_bytes(bytes, reader.pool.memory().bytes()), "");
  }

  static PoolShape shape() { return PoolShape(); }
  static std::vector<uint32_t> source_blocks() { return pick_blocks(16, 32, 77); }
  static constexpr TokenRange kTokens{0, 256};

  baton::Context& prefill() { return *prefill_; }
  Pool& source() { return source_; }
  Reader& reader(size_t i) { return *readers_[i]; }
  baton::ProgressWord& word() { return word_; }

 private:
  std::unique_ptr<baton::Context> make(const Way& way, const std::string& name) {
    baton::ContextOptions options = quiet_options(name);
    options.rails[0].plugin = way.transport;
    options.rails[0].in_process = fabric_;
    options.rails[0].paths = way.paths;
    return std::make_unique<baton::Context>(
        require(baton::Context::create(options), "Context::create"));
  }

  baton_loopback_fabric* fabric_ = nullptr;
  Pool source_;
  std::unique_ptr<baton::Context> prefill_;
  std::vector<std::unique_ptr<Reader>> readers_;
  baton::ProgressWord word_;
};

TEST_P(PullHandoff, ThreeReadersOfTheSameBlocks) {
  Readers readers(GetParam(), 3, test_seed());
  readers.start();
  for (int layer = 0; layer < 4; ++layer) readers.word().tick();
  for (size_t i = 0; i < 3; ++i) readers.expect_whole(readers.reader(i));
}

// One cancels, one dies; the blocks are the source's again when all three have ended, and the third
// has every byte as it was.
TEST_P(PullHandoff, OfThreeReadersOneCancelsAndOneDies) {
  Readers readers(GetParam(), 3, test_seed());
  readers.start();
  readers.word().tick();
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(readers.reader(i).pull.gate(0).wait(20000).is_ok());
  readers.reader(0).pull.cancel("aborted");
  readers.reader(1).context->close(0).ignore();
  EXPECT_EQ(readers.reader(0).pull.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_EQ(readers.reader(0).grant.wait(10000).code(), StatusCode::kCancelled);
  EXPECT_EQ(readers.reader(0).grant.state(), State::kCancelled);
  EXPECT_FALSE(readers.reader(1).grant.wait(10000).is_ok());
  EXPECT_EQ(readers.reader(2).grant.state(), State::kActive);
  EXPECT_GT(readers.source().section_handle().users(), 0u);
  while (readers.word().value() < 4) readers.word().tick();
  readers.expect_whole(readers.reader(2));
  EXPECT_TRUE(wait_until([&] { return readers.source().section_handle().users() == 0; }));
}

}  // namespace
}  // namespace baton_test
