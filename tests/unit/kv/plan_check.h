// What the property tests of plans share: sections in memory, a Plan's request of a case, units
// compared with the reference's and placed as a transport would.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "src/kv/plan.h"
#include "tests/support/guarded_buffer.h"
#include "tests/unit/kv/random_case.h"
#include "tests/unit/kv/reference.h"

namespace baton_test {

// The sections of one side.
struct Memory {
  explicit Memory(const Side& side);
  std::vector<std::unique_ptr<GuardedBuffer>> sections;
};

// How often each byte was written, by section.
using WriteCounts = std::vector<std::vector<uint8_t>>;
WriteCounts no_writes(const Side& side);

// Borrows the case.
baton::kv::PlanRequest request_of(const RandomCase& c, bool knows_source);

// These fail the test fatally: ASSERT_NO_FATAL_FAILURE around them.
void expect_same(const ReferenceUnit& expected, const baton::kv::Unit& unit, bool knows_source);
// Gathers one unit, as a transport would, and counts the writes to each byte.
void place_unit(const baton::kv::Unit& unit, const Memory& source, Memory& target,
                WriteCounts& writes);
// The plans of both sides cut and count as the reference does.
void check_cut(const RandomCase& c);

}  // namespace baton_test
