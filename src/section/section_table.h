// SectionTable: the sections of one Context, by id and by name.
//
// Registration takes three steps, so that nobody meets a section without its keys: add() checks the
// options and gives the id (which the rails want as the region's tag), the caller registers on each
// rail and calls record->add_rail_key(), then record->open(). Closing: record->withdraw(),
// wait_unused(), unregister from the rails, remove().
//
// Invariants:
//  1. An id is never given twice. A name that is not empty belongs to one section at a time, from
//  add() to remove().
//  2. find() and list() give open sections only; all() gives every one.
//
// Ownership: records are shared with whoever found them. Thread rule: thread-safe (one mutex).
// Control-rate: the data path holds SectionRecord pointers and never looks up.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "baton/ids.h"
#include "baton/section.h"
#include "baton/status.h"
#include "src/section/section_record.h"
#include "src/wire/messages.h"

namespace baton::section {

// Sections of a Context at one time. Engines register one pool, or two tensors a layer: some
// hundreds.
inline constexpr uint32_t kMaxSections = 4096;
inline constexpr uint32_t kMaxSectionNameBytes = wire::kMaxNameBytes;

// Bytes of a section that somebody asks for.
struct SectionRange {
  SectionId section;
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
};

// What a hello tells of a section. Keys go to proven peers only and are never logged.
struct SectionSnapshot {
  SectionId id;
  std::string name;
  MemoryKind kind = MemoryKind::kDram;
  MemoryLocation location;
  uint64_t length_bytes = 0;
  std::vector<RailKey> rail_keys;
};

class SectionTable {
 public:
  SectionTable() = default;
  SectionTable(const SectionTable&) = delete;
  SectionTable& operator=(const SectionTable&) = delete;

  // A record in preparation. kInvalidArgument: length 0, null address, address + length past 2^64,
  // name taken, too long or with
  // control characters; kUnavailable: kind not supported by this version; kExhausted:
  // kMaxSections.
  Result<std::shared_ptr<SectionRecord>> add(const SectionOptions& options);
  // Forgets the section and frees its name. REQUIRES: known, withdrawn, no users.
  void remove(SectionId id);

  // kNotFound: never registered, not open yet, or closed; kFailedPrecondition: withdrawn.
  Result<std::shared_ptr<SectionRecord>> find(SectionId id) const;
  // By a name that is not empty; as find().
  Result<std::shared_ptr<SectionRecord>> find(std::string_view name) const;
  // find() and take a use of it in one step.
  Result<SectionUse> acquire(SectionId id) const;
  // Every section from add() to remove(), by ascending id.
  std::vector<std::shared_ptr<SectionRecord>> all() const;
  // Open sections, by ascending id.
  std::vector<std::shared_ptr<SectionRecord>> list() const;
  // The same, as values.
  std::vector<SectionSnapshot> snapshot() const;

  // find()'s errors, or kOutOfRange: the range does not lie within the section. Sums that overflow
  // are out of range. `who` begins the message ("range 2 of the grant"): what asked.
  Status check_range(const SectionRange& range, std::string_view who) const;

 private:
  Status validate(const SectionOptions& options) const;

  mutable std::mutex mutex_;
  std::map<SectionId, std::shared_ptr<SectionRecord>> records_;  // guarded by mutex_
  uint32_t last_id_ = 0;                                         // guarded by mutex_
};

}  // namespace baton::section
