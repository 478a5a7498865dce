// Properties of plans over random pairs of layouts: every byte lands where a naive reference puts
// it, none elsewhere, and both sides cut and count the same.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "src/kv/plan.h"
#include "tests/support/test_seed.h"
#include "tests/unit/kv/plan_check.h"

namespace baton_test {
namespace {

using baton::kv::Plan;
using baton::kv::Unit;
using baton::kv::UnitCursor;

constexpr uint64_t kCases = 600;

// Runs `check` on many random cases; case i of seed s is case 0 of seed s + i.
template <typename Check>
void for_random_cases(Check check) {
  for (uint64_t i = 0; i < kCases; ++i) {
    const uint64_t seed = test_seed() + i;
    baton::base::Random random(seed);
    RandomCase c = make_random_case(random);
    if (random.chance(1, 3)) restrict_heads(random, c);
    SCOPED_TRACE("BATON_TEST_SEED=" + std::to_string(seed) + " replays this case:\n" + describe(c));
    ASSERT_NO_FATAL_FAILURE(check(c, random));
    if (testing::Test::HasFailure()) return;
  }
}

void check_chunks(const RandomCase& c, baton::base::Random&) {
  const std::vector<ReferenceUnit> all = reference_units(c);
  auto plan = Plan::create(request_of(c, true));
  ASSERT_TRUE(plan.is_ok()) << plan.status().to_string();
  size_t seen = 0;
  for (const baton::TokenRange chunk : c.chunks) {
    for (uint32_t layer = 0; layer < plan->num_layers(); ++layer) {
      UnitCursor cursor = plan->cursor(layer, chunk);
      Unit unit;
      uint64_t units = 0;
      for (const ReferenceUnit& expected : all) {
        if (expected.layer_ordinal != layer || expected.last_token < chunk.begin ||
            expected.last_token >= chunk.end) {
          continue;
        }
        ASSERT_TRUE(cursor.next(unit));
        ASSERT_NO_FATAL_FAILURE(expect_same(expected, unit, true));
        ++units;
      }
      ASSERT_FALSE(cursor.next(unit));
      ASSERT_EQ(plan->units_in(layer, chunk), units);
      seen += units;
    }
  }
  ASSERT_EQ(seen, all.size());
}

void check_bytes(const RandomCase& c, baton::base::Random& random) {
  Memory source(c.source);
  Memory target(c.target);
  Memory expected(c.target);
  std::vector<const uint8_t*> from;
  std::vector<uint8_t*> to;
  uint64_t seed = random.next();
  for (auto& section : source.sections) {
    section->fill_pattern(seed++);
    from.push_back(section->data());
  }
  for (auto& section : expected.sections) to.push_back(section->data());
  reference_copy(c, from, to);

  WriteCounts writes = no_writes(c.target);
  auto plan = Plan::create(request_of(c, true));
  ASSERT_TRUE(plan.is_ok()) << plan.status().to_string();
  uint64_t bytes = 0;
  for (const baton::TokenRange chunk : c.chunks) {
    for (uint32_t layer = 0; layer < plan->num_layers(); ++layer) {
      UnitCursor cursor = plan->cursor(layer, chunk);
      Unit unit;
      while (cursor.next(unit)) {
        ASSERT_NO_FATAL_FAILURE(place_unit(unit, source, target, writes));
        bytes += unit.length_bytes;
      }
    }
  }
  EXPECT_EQ(bytes, plan->total_bytes());
  for (size_t i = 0; i < target.sections.size(); ++i) {
    EXPECT_EQ(compare_bytes(expected.sections[i]->bytes(), target.sections[i]->bytes()), "");
    EXPECT_EQ(target.sections[i]->check_guards(), "");
    for (size_t byte = 0; byte < writes[i].size(); ++byte) {
      ASSERT_LE(writes[i][byte], 1) << "byte " << byte << " of section " << i + 1;
    }
  }
}

TEST(PlanPropertyTest, CutsAsTheReferenceOnBothSides) {
  for_random_cases([](const RandomCase& c, baton::base::Random&) { check_cut(c); });
}

TEST(PlanPropertyTest, EachUnitIsSentByTheChunkThatHoldsItsLastToken) {
  for_random_cases(check_chunks);
}

TEST(PlanPropertyTest, PlacesEveryByteOnceAndTouchesNoOther) { for_random_cases(check_bytes); }

}  // namespace
}  // namespace baton_test
