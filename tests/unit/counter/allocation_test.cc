// What the data path may call: apart from the other tests, as it replaces operator new.

#include <gtest/gtest.h>

#include <new>
#include <utility>

#include "src/counter/counter_table.h"
#include "src/counter/gate_state.h"
#include "src/counter/progress_word_state.h"
#include "src/counter/waker.h"
#include "tests/support/alloc_count.h"

namespace baton::counter {
namespace {

TEST(Allocation, CountingAndOpeningAllocateNothing) {
  auto table = std::move(CounterTable::create(16)).value();
  const SlotIndex slot = std::move(table->allocate(1)).value().at(0);
  table->arm(slot, PeerId(7), 1001);
  const uint32_t one = pack({slot, table->generation(slot), 1});
  GateState gate(1000, 1);
  auto waker = std::move(Waker::create()).value();
  ProgressWordState word(waker);

  const uint64_t before = baton_test::allocations_of_thread();
  for (int i = 0; i < 1000; ++i) {
    (void)table->apply(one, PeerId(7), 0);
    (void)table->apply(one, PeerId(8), 0);
    (void)gate.slot_done(2);
    waker->prepare_sleep();
    word.tick();
    waker->finish_sleep();
  }
  EXPECT_EQ(baton_test::allocations_of_thread(), before);
  EXPECT_EQ(table->remaining(slot), 1u);
  EXPECT_TRUE(gate.is_open());
  // Expect: the count would have noticed. A call, as compilers may leave out a new-expression.
  ::operator delete(::operator new(1));
  EXPECT_EQ(baton_test::allocations_of_thread(), before + 1);
}

}  // namespace
}  // namespace baton::counter
