// The whole product: prefill TP x decode TP, replicated or not, x order x shape of the model, the
// rest drawn. Every byte that a decode rank takes is written once, by one rank, and is the model's;
// no other byte is touched; both sides count the same.
//
// What is expected on a target follows from the model's bytes alone (model_bytes.h), not from who
// sends.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "baton/senders.h"
#include "src/kv/plan.h"
#include "tests/support/test_seed.h"
#include "tests/unit/kv/model_bytes.h"
#include "tests/unit/kv/plan_check.h"
#include "tests/unit/kv/product_case.h"

namespace baton_test {
namespace {

using baton::HeadRange;
using baton::Layout;
using baton::kv::Plan;
using baton::kv::Unit;
using baton::kv::UnitCursor;

constexpr uint64_t kLongRounds = 40;

// The rows of these tokens are the model's and were written once; everything else is as it was.
void expect_target(const Side& side, baton::TokenRange tokens, const Memory& memory,
                   const WriteCounts& writes) {
  Memory expected(side);
  fill_model(side, tokens, expected);
  WriteCounts once = no_writes(side);
  for_model_rows(side, tokens, [&](uint32_t section, uint64_t offset, uint64_t, uint64_t length) {
    for (uint64_t byte = 0; byte < length; ++byte) ++once[section][offset + byte];
  });
  for (size_t i = 0; i < memory.sections.size(); ++i) {
    ASSERT_EQ(compare_bytes(expected.sections[i]->bytes(), memory.sections[i]->bytes()), "");
    ASSERT_EQ(memory.sections[i]->check_guards(), "");
    for (size_t byte = 0; byte < writes[i].size(); ++byte) {
      ASSERT_EQ(unsigned{writes[i][byte]}, unsigned{once[i][byte]})
          << "writes of byte " << byte << " of section " << i + 1;
    }
  }
}

bool sends_nothing(const std::vector<HeadRange>& heads) {
  for (const HeadRange& range : heads) {
    if (!range.is_empty()) return false;
  }
  return true;
}

void send(const RandomCase& c, const Memory& source, Memory& target, WriteCounts& writes) {
  ASSERT_NO_FATAL_FAILURE(check_cut(c));
  auto plan = Plan::create(request_of(c, true));
  ASSERT_TRUE(plan.is_ok()) << plan.status().to_string();
  uint64_t units = 0;
  for (const baton::TokenRange chunk : c.chunks) {
    for (uint32_t layer = 0; layer < plan->num_layers(); ++layer) {
      UnitCursor cursor = plan->cursor(layer, chunk);
      Unit unit;
      while (cursor.next(unit)) {
        ASSERT_NO_FATAL_FAILURE(place_unit(unit, source, target, writes));
        ++units;
      }
    }
  }
  ASSERT_EQ(units, plan->total_units());
}

void check_cluster(const ClusterCase& c) {
  std::vector<const Layout*> sources;
  std::vector<Memory> prefill;
  for (const Side& side : c.prefill) {
    sources.push_back(&side.layout);
    fill_model(side, c.tokens, prefill.emplace_back(side));
  }
  for (uint32_t rank = 0; rank < c.decode.size(); ++rank) {
    const Side& side = c.decode[rank];
    SCOPED_TRACE("decode rank " + std::to_string(rank));
    const auto heads = baton::assign_senders({sources, &side.layout, rank});
    ASSERT_TRUE(heads.is_ok()) << heads.status().to_string();
    Memory memory(side);
    WriteCounts writes = no_writes(side);
    for (size_t from = 0; from < c.prefill.size(); ++from) {
      if (sends_nothing((*heads)[from])) continue;
      SCOPED_TRACE("prefill rank " + std::to_string(from));
      const RandomCase one{c.prefill[from], side, c.tokens, c.unit_bytes, (*heads)[from], c.chunks};
      ASSERT_NO_FATAL_FAILURE(send(one, prefill[from], memory, writes));
    }
    ASSERT_NO_FATAL_FAILURE(expect_target(side, c.tokens, memory, writes));
  }
}

// What was drawn, so that a generator which stops drawing something is noticed.
struct Drawn {
  uint64_t prefix_hits = 0;
  uint64_t partial_last_blocks = 0;  // of a decode rank's first group
  uint64_t other_block_sizes = 0;
  uint64_t several_chunks = 0;
  uint64_t shared_storage = 0;  // two tensors in one stride

  void add(const ClusterCase& c) {
    const baton::LayerGroup& from = c.prefill[0].layout.groups[0];
    const baton::LayerGroup& to = c.decode[0].layout.groups[0];
    prefix_hits += c.tokens.begin > 0 ? 1u : 0u;
    partial_last_blocks += c.tokens.end % to.block_tokens != 0 ? 1u : 0u;
    other_block_sizes += from.block_tokens != to.block_tokens ? 1u : 0u;
    several_chunks += c.chunks.size() > 1 ? 1u : 0u;
    shared_storage += to.places[0].block_stride_bytes >= 2 * block_bytes(to) ? 1u : 0u;
  }
};

// Each case has a seed of its own and axes by its turn: the run's seed repeats the whole.
void check_product(uint32_t prefill_ranks, uint64_t rounds) {
  constexpr baton::TokenOrder kOrders[] = {baton::TokenOrder::kNHD, baton::TokenOrder::kHND};
  uint64_t seed = test_seed();
  Drawn drawn;
  for (uint64_t round = 0; round < rounds; ++round) {
    for (const uint32_t decode_ranks : {1u, 2u, 3u, 4u, 8u}) {
      for (uint32_t bits = 0; bits < 16 * kNumModelShapes; ++bits) {
        ClusterAxes axes;
        axes.prefill_ranks = prefill_ranks;
        axes.decode_ranks = decode_ranks;
        axes.prefill_replicates = (bits & 1) != 0;
        axes.decode_replicates = (bits & 2) != 0;
        axes.prefill_order = kOrders[(bits >> 2) & 1];
        axes.decode_order = kOrders[(bits >> 3) & 1];
        axes.shape = static_cast<ModelShape>(bits >> 4);
        baton::base::Random random(++seed);
        const ClusterCase c = make_cluster_case(axes, random);
        SCOPED_TRACE("seed " + std::to_string(seed) + ", " + describe(axes) + "\n" + describe(c));
        ASSERT_NO_FATAL_FAILURE(check_cluster(c));
        drawn.add(c);
      }
    }
  }
  EXPECT_GT(drawn.prefix_hits, 0u);
  EXPECT_GT(drawn.partial_last_blocks, 0u);
  EXPECT_GT(drawn.other_block_sizes, 0u);
  EXPECT_GT(drawn.several_chunks, 0u);
  EXPECT_GT(drawn.shared_storage, 0u);
}

class Product : public testing::TestWithParam<uint32_t> {};

TEST_P(Product, EveryByteOnceByOneRank) { check_product(GetParam(), 1); }
TEST_P(Product, LongEveryByteOnceByOneRank) { check_product(GetParam(), kLongRounds); }

INSTANTIATE_TEST_SUITE_P(PrefillRanks, Product, testing::Values(1u, 2u, 3u, 4u, 8u),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace baton_test
