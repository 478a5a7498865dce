// Buffer: memory for a measurement: mapped, touched before use, with a guard page at each end.
//
// Invariants:
//  1. bytes() is page-aligned; the page before it and the page from its end on belong to the buffer
//     and hold kGuardByte until somebody writes out of bounds.
//  2. Every page was written once: a measurement sees no first-touch fault.
//
// Ownership: RAII, move-only. Thread rule: as plain memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "baton/status.h"

namespace baton_perf {

class Buffer {
 public:
  static constexpr uint8_t kGuardByte = 0x5c;

  Buffer() = default;
  // `length_bytes` is rounded up to whole pages for the mapping; bytes() has just that length.
  // kInvalidArgument: 0; kExhausted: mmap's errno and the size.
  static baton::Result<Buffer> create(uint64_t length_bytes);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  std::span<uint8_t> bytes() { return {begin_, length_bytes_}; }
  std::span<const uint8_t> bytes() const { return {begin_, length_bytes_}; }
  // OK, or which guard byte was overwritten.
  baton::Status check_guards() const;

 private:
  void release();

  uint8_t* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  uint8_t* begin_ = nullptr;
  size_t length_bytes_ = 0;
};

}  // namespace baton_perf
