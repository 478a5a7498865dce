#include "tests/support/alloc_count.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<uint64_t> process_count{0};
thread_local uint64_t thread_count = 0;

[[maybe_unused]] void* counted(size_t size, size_t alignment) noexcept {
  // Relaxed: a test reads the sum after it has joined, or otherwise heard of, what it counts.
  process_count.fetch_add(1, std::memory_order_relaxed);
  ++thread_count;
  if (size == 0) size = 1;
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::malloc(size);
  // aligned_alloc wants a multiple of the alignment.
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

[[maybe_unused]] void* counted_or_throw(size_t size, size_t alignment) {
  void* memory = counted(size, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace baton_test {

uint64_t allocations_of_process() { return process_count.load(std::memory_order_relaxed); }
uint64_t allocations_of_thread() { return thread_count; }

}  // namespace baton_test

#ifndef BATON_TEST_COUNTS_NO_ALLOCATIONS
// The array and sized forms of the standard library call these.
void* operator new(size_t size) { return counted_or_throw(size, 0); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return counted(size, 0); }
void* operator new(size_t size, std::align_val_t alignment) {
  return counted_or_throw(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return counted(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size) { return counted_or_throw(size, 0); }
void* operator new[](size_t size, std::align_val_t alignment) {
  return counted_or_throw(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
#endif
