// SectionRecord: one registered section, as the core sees it; SectionUse: one user's hold on it.
//
// Invariants:
//  1. preparing -> open -> withdrawn; nothing leads back. Uses are given out only while open.
//  2. What a section is (id, name, kind, range) never changes; its rail keys do not change once it
//  is open, so the data
//     path reads them without a lock.
//  3. A record is destroyed with no user left (asserted).
//
// Ownership: shared; a SectionUse keeps its record alive. The memory stays the caller's. Thread
// rule: thread-safe, except add_rail_key (by the thread that registers, before open()).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "baton/ids.h"
#include "baton/section.h"
#include "baton/status.h"

struct baton_region;

namespace baton::section {

// The registration on one rail.
struct RailKey {
  RailIndex rail;
  uint64_t key = 0;                  // what a peer's post names the section with
  uint64_t base = 0;                 // target address of byte 0
  ::baton_region* region = nullptr;  // the plug-in's; unregistered by whoever registered it
};

class SectionRecord {
 public:
  // REQUIRES: the options passed SectionTable's validation.
  SectionRecord(SectionId id, const SectionOptions& options);
  ~SectionRecord();
  SectionRecord(const SectionRecord&) = delete;
  SectionRecord& operator=(const SectionRecord&) = delete;

  SectionId id() const { return id_; }
  const std::string& name() const { return options_.name; }
  MemoryKind kind() const { return options_.kind; }
  const MemoryLocation& location() const { return options_.location; }
  void* address() const { return options_.address; }
  uint64_t length_bytes() const { return options_.length_bytes; }
  std::string describe() const;  // `section 3 ("pool")`

  // REQUIRES: not open yet; one key per rail.
  void add_rail_key(const RailKey& key);
  const std::vector<RailKey>& rail_keys() const { return rail_keys_; }
  // Null when the section is not registered on that rail. Linear in the number of rails; allocates
  // nothing.
  const RailKey* find_rail_key(RailIndex rail) const;

  // Publishes the rail keys (release, partner of the acquire in is_open and SectionUse::acquire).
  // REQUIRES: preparing.
  void open();
  // No new use from here on. Idempotent; also ends a record that was never open.
  void withdraw();
  bool is_open() const;
  bool is_withdrawn() const;

  uint32_t users() const;  // a moment's value
  // Blocks until there is no user, or `deadline_ns` of CLOCK_MONOTONIC: then kDeadlineExceeded,
  // which says how many there are. Acquire, partner of the release that ends a use. REQUIRES:
  // is_withdrawn().
  Status wait_unused(int64_t deadline_ns) const;

  // kOutOfRange unless [offset_bytes, offset_bytes + length_bytes) lies within; `who` begins the
  // message.
  Status check_range(uint64_t offset_bytes, uint64_t length_bytes, std::string_view who) const;

 private:
  friend class SectionUse;
  // One word, so that "still open" and "one more user" are one step, and a futex can wait on it.
  static constexpr uint32_t kOpen = 1u << 31;
  static constexpr uint32_t kWithdrawn = 1u << 30;
  static constexpr uint32_t kUsersMask = kWithdrawn - 1;

  Status add_user();
  void remove_user();

  const SectionId id_;
  const SectionOptions options_;
  std::vector<RailKey> rail_keys_;
  mutable std::atomic<uint32_t> word_{0};
};

// RAII, move-only: while it lives the section's memory stays registered.
class SectionUse {
 public:
  SectionUse() = default;
  // kFailedPrecondition, naming the section, when it is withdrawn (or not open yet). Does not block
  // or allocate on success.
  static Result<SectionUse> acquire(std::shared_ptr<SectionRecord> record);
  SectionUse(SectionUse&& other) noexcept;
  SectionUse& operator=(SectionUse&& other) noexcept;
  ~SectionUse();

  bool is_held() const { return record_ != nullptr; }
  // Null when not held.
  SectionRecord* record() const { return record_.get(); }
  // REQUIRES: is_held().
  SectionRecord* operator->() const { return record_.get(); }
  // Ends the use early. Release, partner of wait_unused().
  void reset();

 private:
  explicit SectionUse(std::shared_ptr<SectionRecord> record) : record_(std::move(record)) {}
  std::shared_ptr<SectionRecord> record_;
};

}  // namespace baton::section
