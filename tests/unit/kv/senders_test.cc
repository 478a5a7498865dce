#include "baton/senders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "src/base/random.h"
#include "tests/support/test_seed.h"

namespace baton {

void PrintTo(const HeadRange& range, std::ostream* out) {
  *out << "[" << range.first << ", " << range.end() << ")";
}

namespace {

using baton_test::test_seed;
using testing::ElementsAre;

constexpr HeadRange kNone{};

LayerGroup make_group(uint32_t heads_total, HeadRange held) {
  LayerGroup group;
  group.block_tokens = 16;
  group.heads_total = heads_total;
  group.head_first = held.first;
  group.heads = held.count;
  group.head_elements = 64;
  group.num_blocks = 4;
  group.layers = {0};
  group.places = {{SectionId(1), 0, block_bytes(group)}};
  return group;
}

Layout make_layout(uint32_t heads_total, HeadRange held) {
  return Layout{{make_group(heads_total, held)}};
}

// Prefill ranks and one decode rank of a model with one group.
struct Cluster {
  Cluster(uint32_t total, const std::vector<HeadRange>& held) : heads_total(total) {
    for (const HeadRange& range : held) layouts.push_back(make_layout(total, range));
  }

  Result<SenderHeads> assign_all(HeadRange target, uint32_t rank, bool allow_gaps = false) const {
    std::vector<const Layout*> sources;
    for (const Layout& layout : layouts) sources.push_back(&layout);
    const Layout to = make_layout(heads_total, target);
    return assign_senders({sources, &to, rank, allow_gaps});
  }
  // Of group 0, by source.
  std::vector<HeadRange> assign(HeadRange target, uint32_t rank, bool allow_gaps = false) const {
    const auto heads = assign_all(target, rank, allow_gaps);
    EXPECT_TRUE(heads.is_ok()) << heads.status().to_string();
    std::vector<HeadRange> out;
    if (!heads.is_ok()) return out;
    for (const auto& groups : *heads) out.push_back(groups.at(0));
    return out;
  }

  uint32_t heads_total;
  std::vector<Layout> layouts;
};

TEST(Senders, SlicesThatDifferSendWhatIsInCommon) {
  const Cluster two(4, {{0, 2}, {2, 2}});
  EXPECT_THAT(two.assign({0, 1}, 0), ElementsAre(HeadRange{0, 1}, kNone));
  EXPECT_THAT(two.assign({1, 1}, 1), ElementsAre(HeadRange{1, 1}, kNone));
  EXPECT_THAT(two.assign({3, 1}, 3), ElementsAre(kNone, HeadRange{3, 1}));
  EXPECT_THAT(two.assign({0, 4}, 0), ElementsAre(HeadRange{0, 2}, HeadRange{2, 2}));
}

TEST(Senders, ThreeRanksWithUnevenSlices) {
  const Cluster three(8, {{0, 3}, {3, 3}, {6, 2}});
  EXPECT_THAT(three.assign({0, 8}, 0),
              ElementsAre(HeadRange{0, 3}, HeadRange{3, 3}, HeadRange{6, 2}));
  EXPECT_THAT(three.assign({2, 2}, 1), ElementsAre(HeadRange{2, 1}, HeadRange{3, 1}, kNone));
}

// 4 KV heads on 8 ranks: pairs of ranks hold the same head.
TEST(Senders, ReplicasTakeTurnsByTheTargetsRank) {
  const Cluster eight(4, {{0, 1}, {0, 1}, {1, 1}, {1, 1}, {2, 1}, {2, 1}, {3, 1}, {3, 1}});
  // Decode ranks 2 and 3 both hold head 1: each is served by another replica.
  EXPECT_THAT(eight.assign({1, 1}, 2),
              ElementsAre(kNone, kNone, HeadRange{1, 1}, kNone, kNone, kNone, kNone, kNone));
  EXPECT_THAT(eight.assign({1, 1}, 3),
              ElementsAre(kNone, kNone, kNone, HeadRange{1, 1}, kNone, kNone, kNone, kNone));
  EXPECT_THAT(eight.assign({0, 4}, 1), ElementsAre(kNone, HeadRange{0, 1}, kNone, HeadRange{1, 1},
                                                   kNone, HeadRange{2, 1}, kNone, HeadRange{3, 1}));
}

TEST(Senders, ReplicasOfSeveralHeadsShareThem) {
  const Cluster four(8, {{0, 4}, {0, 4}, {4, 4}, {4, 4}});
  for (uint32_t rank = 0; rank < 3; ++rank) {
    EXPECT_THAT(four.assign({0, 8}, rank),
                ElementsAre(HeadRange{0, 2}, HeadRange{2, 2}, HeadRange{4, 2}, HeadRange{6, 2}));
  }
  // Each target takes two of four replicas, and the next one the other two.
  const Cluster alike(8, {{0, 8}, {0, 8}, {0, 8}, {0, 8}});
  EXPECT_THAT(alike.assign({0, 2}, 0), ElementsAre(HeadRange{0, 1}, HeadRange{1, 1}, kNone, kNone));
  EXPECT_THAT(alike.assign({2, 2}, 1), ElementsAre(kNone, kNone, HeadRange{2, 1}, HeadRange{3, 1}));
}

TEST(Senders, ALatentIsSentByOneRankAndEachRankServesItsTargets) {
  const Cluster four(1, {{0, 1}, {0, 1}, {0, 1}, {0, 1}});
  for (uint32_t rank = 0; rank < 9; ++rank) {
    const std::vector<HeadRange> heads = four.assign({0, 1}, rank);
    for (uint32_t source = 0; source < 4; ++source) {
      EXPECT_EQ(heads[source], (source == rank % 4 ? HeadRange{0, 1} : kNone)) << rank;
    }
  }
}

TEST(Senders, GroupsTakeTurnsToo) {
  Layout both;
  both.groups = {make_group(1, {0, 1}), make_group(1, {0, 1})};
  const std::vector<const Layout*> sources = {&both, &both};
  const auto heads = assign_senders({sources, &both, 0});
  ASSERT_TRUE(heads.is_ok());
  EXPECT_THAT((*heads)[0], ElementsAre(HeadRange{0, 1}, kNone));
  EXPECT_THAT((*heads)[1], ElementsAre(kNone, HeadRange{0, 1}));
}

TEST(Senders, ARankThatHoldsMoreLeavesRoomForOthers) {
  // Rank 0 could send all; rank 1 holds the first half of it.
  const Cluster two(8, {{0, 8}, {0, 4}});
  EXPECT_THAT(two.assign({0, 8}, 0), ElementsAre(HeadRange{4, 4}, HeadRange{0, 4}));
}

TEST(Senders, AHeadThatNobodyHoldsIsRefusedUnlessAskedFor) {
  const Cluster two(8, {{0, 2}, {4, 2}});
  const auto refused = two.assign_all({1, 5}, 0);
  EXPECT_EQ(refused.status(),
            Status(StatusCode::kMismatch,
                   "group 0: the target holds head 2, none of the 2 sources does"));
  EXPECT_THAT(two.assign({1, 5}, 0, true), ElementsAre(HeadRange{1, 1}, HeadRange{4, 2}));
  EXPECT_THAT(two.assign({6, 2}, 0, true), ElementsAre(kNone, kNone));
}

TEST(Senders, NamesTheSourceThatDoesNotFit) {
  Cluster two(8, {{0, 4}, {4, 4}});
  two.layouts[1].groups[0].dtype = DType::kF32;
  two.layouts[1].groups[0].places[0].block_stride_bytes *= 2;
  EXPECT_EQ(
      two.assign_all({0, 8}, 0).status(),
      Status(StatusCode::kMismatch, "source 1: group 0: dtype: source has f32, target has bf16"));
  const Cluster none(8, {});
  EXPECT_EQ(none.assign_all({0, 8}, 0).status(),
            Status(StatusCode::kInvalidArgument, "0 sources: must be in [1, 1024]"));
}

// Even slices and replicas, as engines make them: no rank sends more than its share.
TEST(Senders, EvenReplicasAreBalanced) {
  for (const uint32_t slices : {1u, 2u, 4u}) {
    for (const uint32_t replicas : {1u, 2u, 4u}) {
      std::vector<HeadRange> held;
      for (uint32_t rank = 0; rank < slices * replicas; ++rank)
        held.push_back({rank / replicas * (8 / slices), 8 / slices});
      const Cluster cluster(8, held);
      for (const uint32_t targets : {1u, 2u, 4u, 8u, 16u}) {
        std::vector<uint32_t> load(held.size());
        for (uint32_t rank = 0; rank < targets; ++rank) {
          const uint32_t count = std::max(1u, 8 / targets);
          const std::vector<HeadRange> heads = cluster.assign({rank * 8 / targets, count}, rank);
          for (size_t i = 0; i < load.size(); ++i) load[i] += heads[i].count;
        }
        const uint32_t total = std::max(8u, targets);
        const auto share = (total + load.size() - 1) / load.size();
        EXPECT_LE(*std::max_element(load.begin(), load.end()), share)
            << slices << " slices of " << replicas << " replicas, " << targets << " targets";
      }
    }
  }
}

// Any slices: each head that some source holds is sent once, by one that holds it.
TEST(Senders, EveryHeadOnceWhateverIsHeld) {
  for (uint64_t i = 0; i < 3000; ++i) {
    base::Random random(test_seed() + i);
    SCOPED_TRACE("BATON_TEST_SEED=" + std::to_string(test_seed() + i));
    const auto heads_total = static_cast<uint32_t>(random.between(1, 24));
    const auto any = [&] {
      const auto first = static_cast<uint32_t>(random.below(heads_total));
      return HeadRange{first, static_cast<uint32_t>(random.between(1, heads_total - first))};
    };
    std::vector<HeadRange> held(random.between(1, 9));
    std::generate(held.begin(), held.end(), any);
    const HeadRange target = any();
    const Cluster cluster(heads_total, held);
    const auto rank = static_cast<uint32_t>(random.next());
    const std::vector<HeadRange> sent = cluster.assign(target, rank, true);
    ASSERT_EQ(sent.size(), held.size());
    ASSERT_EQ(sent, cluster.assign(target, rank, true));
    for (uint32_t head = 0; head < heads_total; ++head) {
      uint32_t holders = 0;
      uint32_t senders = 0;
      for (size_t s = 0; s < held.size(); ++s) {
        const bool holds = head >= held[s].first && head < held[s].end();
        const bool sends = head >= sent[s].first && head < sent[s].end();
        ASSERT_TRUE(holds || !sends) << "source " << s << ", head " << head;
        holders += holds ? 1 : 0;
        senders += sends ? 1 : 0;
      }
      const bool is_wanted = head >= target.first && head < target.end();
      ASSERT_EQ(senders, is_wanted && holders > 0 ? 1u : 0u) << "head " << head;
    }
  }
}

}  // namespace
}  // namespace baton
