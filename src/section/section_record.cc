#include "src/section/section_record.h"

#include "src/base/assert.h"
#include "src/base/futex.h"

namespace baton::section {

SectionRecord::SectionRecord(SectionId id, const SectionOptions& options)
    : id_(id), options_(options) {}

SectionRecord::~SectionRecord() {
  BATON_ASSERT(users() == 0, "a section is destroyed while it is in use");
}

std::string SectionRecord::describe() const {
  const std::string text = "section " + std::to_string(id_.value);
  return options_.name.empty() ? text : text + " (\"" + options_.name + "\")";
}

void SectionRecord::add_rail_key(const RailKey& key) {
  BATON_ASSERT((word_.load(std::memory_order_relaxed) & kOpen) == 0,
               "rail keys are added before the section opens");
  BATON_ASSERT(find_rail_key(key.rail) == nullptr, "one key per rail");
  rail_keys_.push_back(key);
}

const RailKey* SectionRecord::find_rail_key(RailIndex rail) const {
  for (const RailKey& key : rail_keys_) {
    if (key.rail == rail) return &key;
  }
  return nullptr;
}

void SectionRecord::open() {
  // Release: partner of the acquire in is_open() and add_user(); publishes rail_keys_.
  const uint32_t before = word_.fetch_or(kOpen, std::memory_order_release);
  BATON_ASSERT((before & kOpen) == 0, "a section is opened once");
}

void SectionRecord::withdraw() {
  // Relaxed: a later add_user() works on the same word and therefore sees it.
  word_.fetch_or(kWithdrawn, std::memory_order_relaxed);
}

bool SectionRecord::is_open() const {
  return (word_.load(std::memory_order_acquire) & (kOpen | kWithdrawn)) == kOpen;
}

bool SectionRecord::is_withdrawn() const {
  return (word_.load(std::memory_order_acquire) & kWithdrawn) != 0;
}

uint32_t SectionRecord::users() const { return word_.load(std::memory_order_acquire) & kUsersMask; }

Status SectionRecord::add_user() {
  uint32_t word = word_.load(std::memory_order_relaxed);
  while (true) {
    if ((word & kWithdrawn) != 0) {
      return Status(StatusCode::kFailedPrecondition, describe() + " is withdrawn");
    }
    if ((word & kOpen) == 0) {
      return Status(StatusCode::kFailedPrecondition, describe() + " is not open yet");
    }
    BATON_ASSERT((word & kUsersMask) != kUsersMask, "too many users of one section");
    // Acquire: partner of the release in open().
    if (word_.compare_exchange_weak(word, word + 1, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      return Status::ok();
    }
  }
}

void SectionRecord::remove_user() {
  // Release: partner of the acquire in wait_unused(); the use's last access happened before.
  const uint32_t before = word_.fetch_sub(1, std::memory_order_release);
  BATON_ASSERT((before & kUsersMask) != 0, "a section use ends twice");
  // Nobody waits while the section is open, and no user comes once it is withdrawn.
  const bool was_last = (before & kUsersMask) == 1;
  if (was_last && (before & kWithdrawn) != 0) base::futex_wake_all(word_);
}

Status SectionRecord::wait_unused(int64_t deadline_ns) const {
  BATON_ASSERT(is_withdrawn(), "only a withdrawn section runs out of users");
  uint32_t word = word_.load(std::memory_order_acquire);
  bool in_time = true;
  while ((word & kUsersMask) != 0 && in_time) {
    in_time = base::futex_wait_until(word_, word, deadline_ns);
    word = word_.load(std::memory_order_acquire);
  }
  const uint32_t left = word & kUsersMask;
  if (left == 0) return Status::ok();
  return Status(StatusCode::kDeadlineExceeded, describe() + " still has " + std::to_string(left) +
                                                   (left == 1 ? " user" : " users"));
}

Status SectionRecord::check_range(uint64_t offset_bytes, uint64_t length_bytes,
                                  std::string_view who) const {
  const uint64_t total = options_.length_bytes;
  // Without the sum, which can overflow.
  if (offset_bytes <= total && length_bytes <= total - offset_bytes) return Status::ok();
  return Status(StatusCode::kOutOfRange, std::string(who) + ": " + std::to_string(length_bytes) +
                                             " bytes from offset " + std::to_string(offset_bytes) +
                                             " lie past the end of " + describe() + ", which is " +
                                             std::to_string(total) + " bytes long");
}

Result<SectionUse> SectionUse::acquire(std::shared_ptr<SectionRecord> record) {
  BATON_ASSERT(record != nullptr, "a use of no section");
  BATON_RETURN_IF_ERROR(record->add_user());
  return SectionUse(std::move(record));
}

SectionUse::SectionUse(SectionUse&& other) noexcept : record_(std::move(other.record_)) {}

SectionUse& SectionUse::operator=(SectionUse&& other) noexcept {
  if (this != &other) {
    reset();
    record_ = std::move(other.record_);
  }
  return *this;
}

SectionUse::~SectionUse() { reset(); }

void SectionUse::reset() {
  // The record may go with this reference: first the use, then the reference.
  const std::shared_ptr<SectionRecord> record = std::move(record_);
  if (record != nullptr) record->remove_user();
}

}  // namespace baton::section
