#include "perf/lib/buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "perf/lib/size.h"

namespace baton_perf {
namespace {

constexpr uint64_t kPageBytes = 4096;
// A length that no machine has, small enough that page rounding cannot overflow.
constexpr uint64_t kMaxLengthBytes = uint64_t{1} << 46;

}  // namespace

baton::Result<Buffer> Buffer::create(uint64_t length_bytes) {
  if (length_bytes == 0 || length_bytes > kMaxLengthBytes) {
    return {baton::StatusCode::kInvalidArgument,
            "a buffer of " + std::to_string(length_bytes) + " bytes cannot be made"};
  }
  const uint64_t rounded = (length_bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  const uint64_t total = rounded + 2 * kPageBytes;
  void* memory = ::mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return {baton::StatusCode::kExhausted, "a buffer of " + format_size(length_bytes) +
                                               " cannot be mapped: " + std::strerror(errno)};
  }
  Buffer buffer;
  buffer.mapping_ = static_cast<uint8_t*>(memory);
  buffer.mapping_bytes_ = total;
  buffer.begin_ = buffer.mapping_ + kPageBytes;
  buffer.length_bytes_ = length_bytes;
  std::memset(memory, kGuardByte, total);
  return buffer;
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    release();
    mapping_ = std::exchange(other.mapping_, nullptr);
    mapping_bytes_ = std::exchange(other.mapping_bytes_, 0);
    begin_ = std::exchange(other.begin_, nullptr);
    length_bytes_ = std::exchange(other.length_bytes_, 0);
  }
  return *this;
}

Buffer::~Buffer() { release(); }

void Buffer::release() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapping_bytes_);
  mapping_ = nullptr;
}

baton::Status Buffer::check_guards() const {
  const uint8_t* end = begin_ + length_bytes_;
  for (const uint8_t* at = mapping_; at != mapping_ + mapping_bytes_; ++at) {
    if (at == begin_) at = end;
    if (*at == kGuardByte) continue;
    const bool before = at < begin_;
    const auto distance = static_cast<uint64_t>(before ? begin_ - at : at - end);
    return {baton::StatusCode::kInternal,
            "guard byte " + std::to_string(distance) + (before ? " before" : " past") +
                " the buffer was overwritten with " + std::to_string(*at)};
  }
  return baton::Status::ok();
}

}  // namespace baton_perf
