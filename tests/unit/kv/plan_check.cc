#include "tests/unit/kv/plan_check.h"

#include <gtest/gtest.h>

#include <cstring>
#include <utility>

namespace baton_test {

using baton::kv::Plan;
using baton::kv::PlanRequest;
using baton::kv::Unit;
using baton::kv::UnitCursor;

Memory::Memory(const Side& side) {
  for (const uint64_t length : side.section_bytes) {
    sections.push_back(std::make_unique<GuardedBuffer>(length));
  }
}

WriteCounts no_writes(const Side& side) {
  WriteCounts writes;
  for (const uint64_t length : side.section_bytes) writes.emplace_back(length, 0);
  return writes;
}

PlanRequest request_of(const RandomCase& c, bool knows_source) {
  PlanRequest request;
  request.source = &c.source.layout;
  request.target = &c.target.layout;
  if (knows_source) request.source_blocks = c.source.blocks;
  request.target_blocks = c.target.blocks;
  request.heads = c.heads;
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

void place_unit(const Unit& unit, const Memory& source, Memory& target, WriteCounts& writes) {
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

void check_cut(const RandomCase& c) {
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

}  // namespace baton_test
