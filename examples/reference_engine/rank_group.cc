#include "examples/reference_engine/rank_group.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <new>
#include <string>

#include "examples/reference_engine/engine_assert.h"
#include "examples/reference_engine/engine_progress.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

// About 10 us: partials of a decode step are nearly always that close together.
constexpr int kSpins = 200;
// How often a wait looks whether it still has a point.
constexpr int64_t kSliceNs = 20'000'000;
constexpr size_t kHeaderBytes = 4096;
constexpr size_t kLineFloats = 16;

size_t rounded(size_t floats) { return (floats + kLineFloats - 1) / kLineFloats * kLineFloats; }

size_t memory_bytes(size_t floats) {
  return kHeaderBytes + 2 * kTensorParts * rounded(floats) * sizeof(float);
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Between processes, so not the private form.
void futex_wait(const std::atomic<uint32_t>& word, uint32_t seen, int64_t wait_ns) {
  const timespec limit{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void futex_wake_all(const std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// Meeting numbers wrap around.
bool is_at_least(uint32_t meeting, uint32_t other) {
  return static_cast<int32_t>(meeting - other) >= 0;
}

std::string name_of(uint32_t rank) { return "tensor-parallel rank " + std::to_string(rank); }

}  // namespace

// At the start of the memory; the partials follow after kHeaderBytes: [half][part][floats].
struct RankGroup::Shared {
  struct alignas(64) Seat {
    // The last meeting that the rank came to. Its release pairs with the acquire of whoever waits
    // for it: the partial, and gave_up, were written before.
    std::atomic<uint32_t> arrived{0};
    // The meetings, by their half, at which the rank gave up.
    std::atomic<uint32_t> gave_up[2]{};
    std::atomic<int32_t> pid{0};
  };
  Seat seats[kTensorParts];
  std::atomic<uint32_t> lost{0};  // 1 + the rank that was found to be gone
};

Result<OwnedFd> RankGroup::create_memory(size_t floats) {
  static_assert(sizeof(Shared) <= kHeaderBytes);
  static_assert(std::atomic<uint32_t>::is_always_lock_free, "shared between processes");
  OwnedFd memory(::memfd_create("baton-engine-ranks", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto failed = [](const char* call) {
    return Status(StatusCode::kIoError, std::string(call) + ": " + std::strerror(errno));
  };
  if (!memory.is_open()) return failed("memfd_create");
  if (::ftruncate(memory.get(), static_cast<off_t>(memory_bytes(floats))) != 0) {
    return failed("ftruncate");
  }
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return failed("fcntl(F_ADD_SEALS)");
  }
  return memory;
}

Result<std::unique_ptr<RankGroup>> RankGroup::join(int memory, RankGroupOptions options) {
  ENGINE_ASSERT(options.rank < kTensorParts);
  const size_t bytes = memory_bytes(options.floats);
  struct stat info {};
  if (::fstat(memory, &info) != 0) {
    return Status(StatusCode::kInvalidArgument,
                  std::string("the ranks' memory: ") + std::strerror(errno));
  }
  if (static_cast<size_t>(info.st_size) != bytes) {
    return Status(StatusCode::kInvalidArgument, "the ranks' memory has " +
                                                    std::to_string(info.st_size) +
                                                    " bytes; expected " + std::to_string(bytes));
  }
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (mapped == MAP_FAILED) {
    return Status(StatusCode::kExhausted,
                  std::string("mmap of the ranks' memory: ") + std::strerror(errno));
  }
  // All zeros is a Shared in which nobody has come yet.
  auto* shared = std::launder(static_cast<Shared*>(mapped));
  shared->seats[options.rank].pid.store(::getpid(), std::memory_order_release);
  return std::unique_ptr<RankGroup>(new RankGroup(std::move(options), shared, bytes));
}

RankGroup::RankGroup(RankGroupOptions options, Shared* shared, size_t mapped_bytes)
    : options_(std::move(options)), shared_(shared), mapped_bytes_(mapped_bytes) {}

RankGroup::~RankGroup() { ::munmap(shared_, mapped_bytes_); }

float* RankGroup::buffer(uint32_t meeting, uint32_t part) const {
  ENGINE_ASSERT(part < kTensorParts);
  uint8_t* const first = reinterpret_cast<uint8_t*>(shared_) + kHeaderBytes;
  const size_t index = size_t{meeting % 2} * kTensorParts + part;
  return reinterpret_cast<float*>(first) + index * rounded(options_.floats);
}

float* RankGroup::partial(uint32_t part) {
  ENGINE_ASSERT(part == options_.rank);
  return buffer(meeting_ + 1, part);
}

const float* RankGroup::met(uint32_t part) const { return buffer(meeting_, part); }

Status RankGroup::meet() { return meet_as(false); }

Status RankGroup::end_pass(const Status& own) {
  if (given_up_) {
    given_up_ = false;
    return {StatusCode::kCancelled, "the pass was given up"};
  }
  const Status met = meet_as(!own.is_ok());
  given_up_ = false;
  return met;
}

Status RankGroup::meet_as(bool gives_up) {
  if (!broken_.is_ok()) return broken_;
  ENGINE_ASSERT(!given_up_);
  ++meeting_;
  Shared::Seat& own = shared_->seats[options_.rank];
  if (gives_up) own.gave_up[meeting_ % 2].store(meeting_, std::memory_order_relaxed);
  own.arrived.store(meeting_, std::memory_order_release);
  futex_wake_all(own.arrived);
  const int64_t end_ns = now_ns() + int64_t{options_.deadline_ms} * 1'000'000;
  for (uint32_t rank = 0; rank < kTensorParts; ++rank) {
    broken_ = wait_for(rank, end_ns);
    if (!broken_.is_ok()) return broken_;
  }
  for (uint32_t rank = 0; rank < kTensorParts; ++rank) {
    // Relaxed: `arrived` was read after it. It stays until the meeting after the next.
    const uint32_t at = shared_->seats[rank].gave_up[meeting_ % 2].load(std::memory_order_relaxed);
    if (at != meeting_) continue;
    given_up_ = true;
    return {StatusCode::kCancelled, name_of(rank) + " gave the pass up"};
  }
  return Status::ok();
}

bool RankGroup::has_come(uint32_t rank) const {
  return is_at_least(shared_->seats[rank].arrived.load(std::memory_order_acquire), meeting_);
}

Status RankGroup::wait_for(uint32_t rank, int64_t end_ns) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (has_come(rank)) return Status::ok();
    pause_briefly();
  }
  const std::atomic<uint32_t>& word = shared_->seats[rank].arrived;
  while (true) {
    const uint32_t seen = word.load(std::memory_order_acquire);
    if (is_at_least(seen, meeting_)) return Status::ok();
    futex_wait(word, seen, kSliceNs);
    if (has_come(rank)) return Status::ok();
    BATON_RETURN_IF_ERROR(look_around(rank, end_ns));
  }
}

Status RankGroup::look_around(uint32_t rank, int64_t end_ns) {
  for (uint32_t other = 0; other < kTensorParts; ++other) {
    // One that has come and then ended will be missed at the next meeting.
    if (!has_come(other) && is_gone(other)) say_lost(other);
  }
  const uint32_t lost = shared_->lost.load(std::memory_order_acquire);
  if (lost != 0) return {StatusCode::kPeerLost, name_of(lost - 1) + " is gone"};
  if (options_.check) BATON_RETURN_IF_ERROR(options_.check());
  if (now_ns() < end_ns) return Status::ok();
  return {StatusCode::kDeadlineExceeded, name_of(rank) + " did not come to the sum within " +
                                             std::to_string(options_.deadline_ms) + " ms"};
}

bool RankGroup::is_gone(uint32_t rank) {
  if (rank == options_.rank) return false;
  OwnedFd& process = processes_[rank];
  if (!process.is_open()) {
    const int32_t pid = shared_->seats[rank].pid.load(std::memory_order_acquire);
    if (pid == 0) return false;  // it has not joined yet
    process = OwnedFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process.is_open()) return errno == ESRCH;
  }
  pollfd entry{process.get(), POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

bool RankGroup::is_given_up() const {
  if (shared_->lost.load(std::memory_order_acquire) != 0) return true;
  const uint32_t next = meeting_ + 1;
  for (const Shared::Seat& seat : shared_->seats) {
    if (is_at_least(seat.arrived.load(std::memory_order_acquire), next) &&
        seat.gave_up[next % 2].load(std::memory_order_relaxed) == next) {
      return true;
    }
  }
  return false;
}

void RankGroup::say_lost(uint32_t rank) {
  uint32_t none = 0;
  shared_->lost.compare_exchange_strong(none, rank + 1, std::memory_order_acq_rel);
}

}  // namespace baton_engine
