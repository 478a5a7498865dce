#include "tests/support/alloc_count.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace baton_test {
namespace {

struct alignas(128) Wide {
  char bytes[128];
};

// A compiler may leave out a new whose memory nobody sees.
void let_see(const void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

TEST(AllocCountTest, CountsEveryFormOfNew) {
  const uint64_t before = allocations_of_thread();
  auto plain = std::make_unique<int>(1);
  auto array = std::make_unique<int[]>(10);
  auto wide = std::make_unique<Wide>();
  std::vector<int> growing(100);
  for (const void* memory :
       {static_cast<const void*>(plain.get()), static_cast<const void*>(array.get()),
        static_cast<const void*>(wide.get()), static_cast<const void*>(growing.data())}) {
    let_see(memory);
  }
  EXPECT_EQ(allocations_of_thread() - before, 4u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(wide.get()) % 128, 0u);
}

TEST(AllocCountTest, ThreadsAreToldApart) {
  const uint64_t process_before = allocations_of_process();
  uint64_t other = 0;
  std::thread thread([&] {
    const uint64_t before = allocations_of_thread();
    const std::vector<int> growing(100);
    let_see(growing.data());
    other = allocations_of_thread() - before;
  });
  thread.join();
  EXPECT_EQ(other, 1u);
  const uint64_t mine = allocations_of_thread();
  EXPECT_GT(allocations_of_process(), process_before);
  EXPECT_EQ(allocations_of_thread(), mine);
}

}  // namespace
}  // namespace baton_test
