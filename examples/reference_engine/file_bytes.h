// MappedFile: a whole file, mapped read-only.
//
// Ownership: unmaps on destruction; spans into it die with it. Thread rule: const use from any
// thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "baton/status.h"

namespace baton_engine {

class MappedFile {
 public:
  // kNotFound when nothing lies at `path`; kIoError, with errno's text, for every other failure;
  // kInvalidArgument for what is not a regular file. An empty file gives an empty span.
  static baton::Result<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  std::span<const uint8_t> bytes_;
};

}  // namespace baton_engine
