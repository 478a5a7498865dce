// FileBytes: a whole file, read into memory. Not mapped: a page of a mapped file that another
// process cuts short meanwhile ends this one with SIGBUS.
//
// Ownership: owns the memory; spans into it die with it. Thread rule: const use from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "baton/status.h"

namespace baton_engine {

class FileBytes {
 public:
  // kNotFound when nothing lies at `path`; kIoError, with errno's text, for every other failure;
  // kInvalidArgument for what is not a regular file; kOutOfRange for one that became shorter while
  // it was read; kExhausted without memory for it. An empty file gives an empty span.
  static baton::Result<FileBytes> read(const std::string& path);

  // The first `length_bytes` of the open file `fd`, wherever its offset is. `path` is used in
  // messages only. kOutOfRange: it ends before; the rest as read().
  static baton::Result<FileBytes> read_exactly(int fd, const std::string& path,
                                               size_t length_bytes);

  std::span<const uint8_t> bytes() const { return {data_.get(), length_bytes_}; }

 private:
  struct Free {
    void operator()(uint8_t* data) const { std::free(data); }
  };
  using Memory = std::unique_ptr<uint8_t[], Free>;

  FileBytes(Memory data, size_t length_bytes)
      : data_(std::move(data)), length_bytes_(length_bytes) {}

  Memory data_;
  size_t length_bytes_ = 0;
};

}  // namespace baton_engine
