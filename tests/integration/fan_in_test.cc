// Several writers, one hand-off (GrantGroup), and several readers of one: every byte, every gate,
// every count; what is refused, and that nobody hears of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/integration/cluster_rig.h"
#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::EventKind;
using baton::HeadRange;
using baton::State;
using baton::StatusCode;
using baton::TokenOrder;

ClusterCase make_case(uint32_t prefill_ranks, uint32_t decode_ranks, ModelShape shape,
                      uint64_t seed, bool prefill_replicates = false,
                      bool decode_replicates = false) {
  baton::base::Random random(seed);
  ClusterAxes axes;
  axes.prefill_ranks = prefill_ranks;
  axes.decode_ranks = decode_ranks;
  axes.prefill_replicates = prefill_replicates;
  axes.decode_replicates = decode_replicates;
  axes.prefill_order = random.chance(1, 2) ? TokenOrder::kNHD : TokenOrder::kHND;
  axes.decode_order = random.chance(1, 2) ? TokenOrder::kNHD : TokenOrder::kHND;
  axes.shape = shape;
  return make_cluster_case(axes, random);
}

// Two layers, heads enough for four ranks, whatever else: for tests that count writers.
ClusterCase make_four_writers(uint64_t seed) {
  for (;; ++seed) {
    ClusterCase c = make_case(4, 1, ModelShape::kKeysAndValuesApart, seed);
    const baton::LayerGroup& group = c.decode[0].layout.groups[0];
    if (group.layers.size() == 2 && group.heads_total >= 4) return c;
  }
}

class FanIn : public testing::TestWithParam<Transport> {};

// Feeds the case's chunks layer by layer.
class Feeder {
 public:
  Feeder(Cluster& cluster, size_t from, const std::string& tag)
      : transfer_(cluster.push(from, tag)),
        word_(require(cluster.prefill(from).context().create_progress_word(), "word")),
        layers_(num_layers(cluster.layouts().prefill[from].layout)) {
    uint64_t base = 0;
    for (const baton::TokenRange chunk : cluster.layouts().chunks) {
      if (chunk.is_empty()) continue;
      require_ok(transfer_.submit_chunk({chunk, &word_, base}), "submit_chunk");
      base += layers_;
    }
    last_base_ = base - layers_;
  }
  // All chunks but the last, and layer `layer` of that.
  void tick_to_layer(uint32_t layer) { word_.advance_to(last_base_ + layer + 1).ignore(); }
  void tick_all() { tick_to_layer(layers_ - 1); }
  baton::Transfer& transfer() { return transfer_; }

 private:
  baton::Transfer transfer_;
  baton::ProgressWord word_;
  uint32_t layers_;
  uint64_t last_base_ = 0;
};

TEST_P(FanIn, ALayersGateOpensWithTheLastOfFourWriters) {
  Cluster cluster(GetParam(), make_four_writers(test_seed()), test_seed());
  auto group = require(cluster.decode(0).context().grant_group(cluster.request(0, "r")), "group");
  ASSERT_EQ(group.num_writers(), 4u);
  std::vector<Feeder> feeders;
  for (size_t i = 0; i < 4; ++i) feeders.emplace_back(cluster, i, "r");
  std::vector<uint32_t> order = {0, 1, 2, 3};
  std::mt19937_64 random(test_seed());
  for (uint32_t layer = 0; layer < group.num_layers(); ++layer) {
    std::shuffle(order.begin(), order.end(), random);
    EXPECT_EQ(group.gate(layer).remaining(), 4u);
    for (uint32_t i = 0; i < 4; ++i) {
      EXPECT_FALSE(group.gate(layer).is_open()) << "layer " << layer << ", writer " << i;
      feeders[order[i]].tick_to_layer(layer);
      ASSERT_TRUE(group.grant(order[i])->gate(layer).wait(20000).is_ok());
      // The writer's own gate opens first, so that the group's is never ahead of it.
      EXPECT_TRUE(wait_until([&] { return group.gate(layer).remaining() == 3 - i; }));
    }
    ASSERT_TRUE(group.gate(layer).wait(20000).is_ok());
    EXPECT_GT(group.gate(layer).opened_ns(), 0);
  }
  EXPECT_TRUE(group.all().wait(20000).is_ok());
  EXPECT_TRUE(group.wait(20000).is_ok()) << group.status().to_string();
  EXPECT_EQ(group.state(), State::kDone);
  uint64_t units = 0;
  for (const baton::GrantRecord& record : group.records()) units += record.units;
  uint64_t sent = 0;
  for (Feeder& feeder : feeders) {
    EXPECT_TRUE(feeder.transfer().wait(20000).is_ok());
    sent += feeder.transfer().record().units;
  }
  EXPECT_EQ(units, sent);
  EXPECT_EQ(cluster.decode(0).check_model(cluster.layouts().tokens), "");
}

TEST_P(FanIn, OneEventForTheEndOfTheGroupAfterThoseOfItsGrants) {
  Cluster cluster(GetParam(), make_four_writers(test_seed()), test_seed());
  baton::Context& decode = cluster.decode(0).context();
  auto group = require(decode.grant_group(cluster.request(0, "r")), "group");
  for (size_t i = 0; i < 4; ++i) {
    auto transfer = cluster.push(i, "r");
    require_ok(transfer.seal(), "seal");
    EXPECT_TRUE(transfer.wait(20000).is_ok());
  }
  ASSERT_TRUE(group.wait(20000).is_ok());
  require_ok(decode.close(10000), "close");
  int grants = 0;
  int groups = 0;
  baton::Event event;
  while (decode.poll_events({&event, 1}) == 1) {
    if (event.kind == EventKind::kGrantEnded) {
      EXPECT_EQ(groups, 0) << "the group ends last";
      EXPECT_EQ(event.group, group.id());
      ++grants;
    }
    if (event.kind == EventKind::kGrantGroupEnded) {
      EXPECT_EQ(event.group, group.id());
      EXPECT_EQ(event.tag, "r");
      EXPECT_TRUE(event.status.is_ok());
      ++groups;
    }
  }
  EXPECT_EQ(grants, 4);
  EXPECT_EQ(groups, 1);
}

// Each decode rank is served by as many prefill ranks as it takes; an idle one is offered nothing.
void run_cluster(const Transport& transport, const ClusterCase& layouts, uint64_t seed) {
  Cluster cluster(transport, layouts, seed);
  std::vector<baton::GrantGroup> groups;
  std::vector<baton::Transfer> transfers;
  for (size_t to = 0; to < cluster.decode_ranks(); ++to) {
    const std::string tag = "r" + std::to_string(to);
    groups.push_back(
        require(cluster.decode(to).context().grant_group(cluster.request(to, tag)), "group"));
    std::vector<const baton::Layout*> sources;
    for (const Side& side : layouts.prefill) sources.push_back(&side.layout);
    const auto heads = require(
        baton::assign_senders({sources, &layouts.decode[to].layout, static_cast<uint32_t>(to)}),
        "assign_senders");
    for (size_t from = 0; from < cluster.prefill_ranks(); ++from) {
      const bool sends = std::any_of(heads[from].begin(), heads[from].end(),
                                     [](const HeadRange& range) { return !range.is_empty(); });
      ASSERT_EQ(groups[to].grant(static_cast<uint32_t>(from)) != nullptr, sends);
      if (!sends) continue;
      const auto offer =
          require(cluster.prefill(from).context().wait_offer(tag, 20000), "wait_offer");
      EXPECT_EQ(offer.heads, heads[from]) << "both sides derive the same";
      transfers.push_back(cluster.push(from, tag));
      require_ok(transfers.back().seal(), "seal");
    }
  }
  for (size_t to = 0; to < groups.size(); ++to) {
    EXPECT_TRUE(groups[to].all().wait(20000).is_ok()) << groups[to].status().to_string();
    EXPECT_TRUE(groups[to].wait(20000).is_ok()) << groups[to].status().to_string();
    EXPECT_EQ(cluster.decode(to).check_model(layouts.tokens), "");
  }
  for (auto& transfer : transfers) EXPECT_TRUE(transfer.wait(20000).is_ok());
}

struct Ranks {
  uint32_t prefill;
  uint32_t decode;
};

TEST_P(FanIn, RanksThatDifferWithReplicatedHeads) {
  uint64_t seed = test_seed();
  for (const Ranks ranks : {Ranks{2, 4}, Ranks{4, 2}, Ranks{8, 4}, Ranks{3, 2}}) {
    for (const ModelShape shape : {ModelShape::kKeysAndValuesPacked, ModelShape::kSeveralGroups}) {
      const ClusterCase layouts = make_case(ranks.prefill, ranks.decode, shape, ++seed,
                                            ranks.prefill > 2, ranks.decode > 2);
      SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + describe(layouts));
      ASSERT_NO_FATAL_FAILURE(run_cluster(GetParam(), layouts, seed));
    }
  }
}

// Two prefill ranks have done one half of the prompt each; the halves meet within a block.
TEST_P(FanIn, WritersOfPartsOfTheTokens) {
  ClusterCase layouts = make_four_writers(test_seed());
  while (layouts.tokens.end - layouts.tokens.begin < 2)
    layouts = make_four_writers(test_seed() + 1000 * (layouts.tokens.end + 1));
  layouts.prefill.resize(1);
  layouts.prefill[0] = layouts.decode[0];
  layouts.prefill.push_back(layouts.prefill[0]);
  Cluster cluster(GetParam(), layouts, test_seed());
  auto request = cluster.request(0, "r");
  const uint32_t middle = (layouts.tokens.begin + layouts.tokens.end + 1) / 2;
  request.writers[0].tokens = {layouts.tokens.begin, middle};
  request.writers[1].tokens = {middle, layouts.tokens.end};
  auto group = require(cluster.decode(0).context().grant_group(request), "group");
  for (uint32_t i = 0; i < 2; ++i) {
    baton::Context& context = cluster.prefill(i).context();
    const auto offer = require(context.wait_offer("r", 20000), "wait_offer");
    EXPECT_EQ(offer.tokens, request.writers[i].tokens);
    // The source's list of its part begins with the block that holds the part's first token.
    const uint32_t size = layouts.prefill[i].layout.groups[0].block_tokens;
    const auto& all = layouts.prefill[i].blocks[0];
    const auto first = all.begin() + (offer.tokens.begin / size - layouts.tokens.begin / size);
    const auto last = all.begin() + ((offer.tokens.end - 1) / size - layouts.tokens.begin / size);
    baton::PushRequest push;
    push.grant = offer.id;
    push.cache = cluster.prefill(i).cache();
    push.block_lists = {{first, last + 1}};
    auto transfer = require(context.push(push), "push");
    require_ok(transfer.seal(), "seal");
    EXPECT_TRUE(transfer.wait(20000).is_ok()) << transfer.status().to_string();
  }
  EXPECT_TRUE(group.wait(20000).is_ok()) << group.status().to_string();
  EXPECT_EQ(cluster.decode(0).check_model(layouts.tokens), "");
}

// Fan-out: each reader grants on its own, one that cancels does not disturb the others.
TEST_P(FanIn, ThreeReadersOfOneWriter) {
  ClusterCase layouts = make_four_writers(test_seed());
  layouts.prefill.resize(1);
  layouts.prefill[0] = layouts.decode[0];
  layouts.decode.resize(3, layouts.decode[0]);
  Cluster cluster(GetParam(), layouts, test_seed());
  std::vector<baton::Grant> grants;
  std::vector<Feeder> feeders;
  for (size_t i = 0; i < 3; ++i) {
    const std::string tag = "r" + std::to_string(i);
    baton::GrantRequest request;
    request.peer = cluster.peer(i, 0);
    request.cache = cluster.decode(i).cache();
    request.source_cache = "kv";
    request.tag = tag;
    request.tokens = layouts.tokens;
    request.block_lists = layouts.decode[i].blocks;
    grants.push_back(require(cluster.decode(i).context().grant(request), "grant"));
    feeders.emplace_back(cluster, 0, tag);
    feeders.back().tick_to_layer(0);
  }
  for (const auto& grant : grants) ASSERT_TRUE(grant.gate(0).wait(20000).is_ok());
  grants[1].cancel("enough");
  EXPECT_EQ(grants[1].wait(20000).code(), StatusCode::kCancelled);
  cluster.decode(1).poison();
  for (Feeder& feeder : feeders) feeder.tick_all();
  for (const size_t i : {size_t{0}, size_t{2}}) {
    EXPECT_TRUE(grants[i].wait(20000).is_ok()) << grants[i].status().to_string();
    EXPECT_TRUE(feeders[i].transfer().wait(20000).is_ok());
    EXPECT_EQ(cluster.decode(i).check_model(layouts.tokens), "");
  }
  EXPECT_EQ(feeders[1].transfer().wait(20000).code(), StatusCode::kCancelled);
  EXPECT_EQ(cluster.decode(1).check_poisoned(), "");
}

// No writer has heard of tag "refused" when the next Grant's offer is there.
void expect_not_offered(Cluster& cluster) {
  for (size_t i = 0; i < cluster.prefill_ranks(); ++i) {
    const std::string tag = "after-" + std::to_string(i);
    auto request = cluster.request(0, tag);
    request.writers = {request.writers[i]};
    request.allow_gaps = true;
    auto group = require(cluster.decode(0).context().grant_group(request), "group");
    baton::Context& prefill = cluster.prefill(i).context();
    require(prefill.wait_offer(tag, 20000), "wait_offer");
    EXPECT_EQ(prefill.wait_offer("refused", 0).code(), StatusCode::kDeadlineExceeded);
    group.cancel();
    EXPECT_EQ(group.wait(20000).code(), StatusCode::kCancelled);
  }
}

TEST_P(FanIn, AllOrNothing) {
  Cluster cluster(GetParam(), make_four_writers(test_seed()), test_seed(), 3);
  baton::Context& decode = cluster.decode(0).context();
  auto request = cluster.request(0, "refused");
  const auto expect = [&](StatusCode code, const std::string& text) {
    const auto group = decode.grant_group(request);
    EXPECT_EQ(group.code(), code) << group.status().to_string();
    EXPECT_NE(group.status().message().find(text), std::string::npos) << group.status().to_string();
  };
  expect(StatusCode::kInvalidArgument, "4 Grants at once: at most 3 live");
  request.writers.resize(3);
  expect(StatusCode::kMismatch, "nobody writes token");
  request.allow_gaps = true;
  {
    std::vector<uint8_t> memory(64);
    baton::SectionOptions options;
    options.address = memory.data();
    options.length_bytes = memory.size();
    auto section = require(decode.register_section(options), "register_section");
    baton::RangeGrantRequest one;
    one.peer = cluster.peer(0, 0);
    one.tag = "one";
    one.ranges = {{section.id(), 0, 64}};
    one.allow_read = true;
    auto alive = require(decode.grant_ranges(one), "grant_ranges");
    expect(StatusCode::kBusy, "1 Grants are alive, and 3 more");
    alive.cancel();
    EXPECT_EQ(next_event(decode, baton::EventKind::kGrantEnded).grant, alive.id());
  }
  request.allow_gaps = false;
  request.writers.push_back({baton::PeerId(999), "kv"});
  expect(StatusCode::kNotFound, "writer 3 (peer 999): ");
  request.writers[3] = {cluster.peer(0, 3), "other"};
  expect(StatusCode::kNotFound, "publishes no cache \"other\"");
  request.writers = cluster.request(0, "").writers;
  request.writers.push_back(request.writers[0]);
  for (auto& writer : request.writers) writer.heads = {HeadRange{}};
  const baton::LayerGroup& first = cluster.layouts().prefill[0].layout.groups[0];
  request.writers[0].heads = {{first.head_first, first.heads}};
  request.writers[4].heads = {{first.head_first, 1}};
  expect(StatusCode::kInvalidArgument, "writer 0 and writer 4 would both write tokens");
  expect_not_offered(cluster);
  EXPECT_EQ(cluster.decode(0).check_poisoned(), "");
}

INSTANTIATE_TEST_SUITE_P(Transports, FanIn,
                         testing::Values(Transport{"tcp", "tcp"},
                                         Transport{"loopback_ordered", "loopback"},
                                         Transport{"loopback_unordered", "loopback", false}),
                         [](const auto& transport) { return std::string(transport.param.name); });

}  // namespace
}  // namespace baton_test
