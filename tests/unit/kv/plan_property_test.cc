// Properties of plans over random pairs of layouts: every byte lands where a naive reference puts
// it, none elsewhere, and both sides cut and count the same.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/kv/plan.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/test_seed.h"
#include "tests/unit/kv/random_case.h"
#include "tests/unit/kv/reference.h"

namespace baton_test {
namespace {

using baton::kv::Plan;
using baton::kv::PlanRequest;
using baton::kv::Unit;
using baton::kv::UnitCursor;

constexpr uint64_t kCases = 600;

// The sections of one side.
struct Memory {
  explicit Memory(const Side& side) {
    for (const uint64_t length : side.section_bytes) {
      sections.push_back(std::make_unique<GuardedBuffer>(length));
    }
  }
  std::vector<std::unique_ptr<GuardedBuffer>> sections;
};

PlanRequest request_of(const RandomCase& c, bool knows_source) {
  PlanRequest request;
  request.source = &c.source.layout;
  request.target = &c.target.layout;
  if (knows_source) request.source_blocks = c.source.blocks;
  request.target_blocks = c.target.blocks;
  request.tokens = c.tokens;
  request.unit_bytes = c.unit_bytes;
  return request;
}

void expect_same(const ReferenceUnit& expected, const Unit& unit, bool knows_source) {
  ASSERT_EQ(unit.layer_ordinal, expected.layer_ordinal);
  ASSERT_EQ(unit.group, expected.group);
  ASSERT_EQ(unit.block_position, expected.block_position);
  ASSERT_EQ(unit.target_section.value, expected.section);
  ASSERT_EQ(unit.target_offset_bytes, expected.offset_bytes);
  ASSERT_EQ(unit.length_bytes, expected.length_bytes);
  if (!knows_source) {
    ASSERT_EQ(unit.num_sources, 0u);
    return;
  }
  ASSERT_EQ(unit.num_sources, expected.sources.size());
  for (uint32_t i = 0; i < unit.num_sources; ++i) {
    ASSERT_EQ(unit.sources[i], expected.sources[i]) << "source " << i;
  }
}

// Gathers one unit, as a transport would, and counts the writes to each byte.
void place_unit(const Unit& unit, const Memory& source, Memory& target,
                std::vector<std::vector<uint8_t>>& writes) {
  const uint32_t section = unit.target_section.value - 1;
  GuardedBuffer& to = *target.sections[section];
  uint64_t at = unit.target_offset_bytes;
  ASSERT_LE(at + unit.length_bytes, to.size());
  for (uint32_t i = 0; i < unit.num_sources; ++i) {
    const auto& range = unit.sources[i];
    const GuardedBuffer& from = *source.sections[range.section.value - 1];
    ASSERT_LE(range.offset_bytes + range.length_bytes, from.size());
    std::memcpy(to.data() + at, from.data() + range.offset_bytes, range.length_bytes);
    for (uint32_t byte = 0; byte < range.length_bytes; ++byte) ++writes[section][at + byte];
    at += range.length_bytes;
  }
  ASSERT_EQ(at, unit.target_offset_bytes + unit.length_bytes);
}

// Runs `check` on many random cases; case i of seed s is case 0 of seed s + i.
template <typename Check>
void for_random_cases(Check check) {
  for (uint64_t i = 0; i < kCases; ++i) {
    const uint64_t seed = test_seed() + i;
    baton::base::Random random(seed);
    const RandomCase c = make_random_case(random);
    SCOPED_TRACE("BATON_TEST_SEED=" + std::to_string(seed) + " replays this case:\n" + describe(c));
    ASSERT_NO_FATAL_FAILURE(check(c, random));
    if (testing::Test::HasFailure()) return;
  }
}

void check_cut(const RandomCase& c, baton::base::Random&) {
  const std::vector<ReferenceUnit> expected = reference_units(c);
  for (const bool knows_source : {true, false}) {
    auto created = Plan::create(request_of(c, knows_source));
    ASSERT_TRUE(created.is_ok()) << created.status().to_string();
    const Plan plan = std::move(created).value();
    ASSERT_EQ(plan.total_units(), expected.size());
    size_t index = 0;
    uint64_t bytes = 0;
    for (uint32_t layer = 0; layer < plan.num_layers(); ++layer) {
      UnitCursor cursor = plan.cursor(layer);
      Unit unit;
      uint64_t units = 0;
      uint64_t layer_bytes = 0;
      while (cursor.next(unit)) {
        ASSERT_LT(index, expected.size());
        ASSERT_NO_FATAL_FAILURE(expect_same(expected[index], unit, knows_source)) << index;
        ASSERT_LE(unit.length_bytes, c.unit_bytes);
        ++index;
        ++units;
        layer_bytes += unit.length_bytes;
      }
      ASSERT_FALSE(cursor.next(unit));
      ASSERT_EQ(units, plan.units_of_layer(layer));
      ASSERT_EQ(layer_bytes, plan.bytes_of_layer(layer));
      bytes += layer_bytes;
    }
    ASSERT_EQ(index, expected.size());
    ASSERT_EQ(bytes, plan.total_bytes());
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

  std::vector<std::vector<uint8_t>> writes;
  for (const uint64_t length : c.target.section_bytes) writes.emplace_back(length, 0);
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

TEST(PlanPropertyTest, CutsAsTheReferenceOnBothSides) { for_random_cases(check_cut); }

TEST(PlanPropertyTest, EachUnitIsSentByTheChunkThatHoldsItsLastToken) {
  for_random_cases(check_chunks);
}

TEST(PlanPropertyTest, PlacesEveryByteOnceAndTouchesNoOther) { for_random_cases(check_bytes); }

}  // namespace
}  // namespace baton_test
